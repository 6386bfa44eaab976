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


def table(columns: Sequence[Column], width: int) -> Table:
    """Returns a table of as many columns as fit into `width`, in the order given; the first is always there."""
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
    for row in zip(*(column.cells for column in shown), strict=True):
        made.add_row(*row)
    return made
