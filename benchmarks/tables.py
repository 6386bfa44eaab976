"""Tables of numbers: for the terminal, and in Markdown whose rows are printed as they are known."""

from rich.table import Table


def table_of(first: str, *others: str, title: str | None = None) -> Table:
    """Returns an empty one for the terminal; the first column names what the others are of."""
    table = Table(title=title, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


class Rows:
    """One in Markdown."""

    def __init__(self, first: str, *others: str) -> None:
        """Prints the head."""
        self.add(first, *others)
        self.add("---", *["---:"] * len(others))

    def add(self, *cells: str) -> None:
        """Prints a row."""
        print(f"| {' | '.join(cells)} |", flush=True)
