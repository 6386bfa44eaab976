"""Tables of numbers: for the terminal, or as Markdown printed row by row."""

from rich.table import Table


def table_of(first: str, *others: str, title: str | None = None) -> Table:
    """Returns an empty table for the terminal; the first column has the names of the rows."""
    table = Table(title=title, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


class Rows:
    """A Markdown table on standard output, printed row by row."""

    def __init__(self, first: str, *others: str) -> None:
        """Prints the header."""
        self.add(first, *others)
        self.add("---", *["---:"] * len(others))

    def add(self, *cells: str) -> None:
        """Prints a row."""
        print(f"| {' | '.join(cells)} |", flush=True)
