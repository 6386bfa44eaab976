"""Tables that leave columns out where there is no room for all."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

_GAP = 2


@dataclass(frozen=True)
class Column:
    """A column with its cells, from the top down. Those of the lowest `rank` stay longest."""

    title: str
    cells: Sequence[Text | str]
    rank: int = 0
    right: bool = True

    @property
    def width(self) -> int:
        """Its widest cell."""
        return max(len(cell) for cell in (self.title, *self.cells))


def table(columns: Sequence[Column], width: int, rows: int) -> Table:
    """Returns a table of as many columns as fit into `width`, and so many rows at most.

    Columns stay in the order given, and the first is always there. The last row tells how many are missing.
    """
    taken = columns[0].width
    kept = {0}
    for place in sorted(range(1, len(columns)), key=lambda place: columns[place].rank):
        needed = columns[place].width + _GAP
        if taken + needed > width:
            break
        taken += needed
        kept.add(place)
    shown = [columns[place] for place in sorted(kept)]
    made = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column in shown:
        made.add_column(column.title, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis")
    count = len(columns[0].cells)
    whole = count if count <= rows else max(rows - 1, 0)
    for row in range(whole):
        made.add_row(*(column.cells[row] for column in shown))
    if whole < count:
        made.add_row(f"+{count - whole}", style="dim")
    return made
