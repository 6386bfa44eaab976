"""Renders a result as tables, for the terminal and in Markdown."""

from dataclasses import dataclass

from rich.table import Table

from benchmarks.tables import table_of
from benchmarks.text.result import Cell, Result
from benchmarks.text.statistics import Spread, spread

OURS = "sensorium"
RATIOS = {"tokens_per_second": "tokens/s", "first_token_p50": "TTFT p50", "inter_token_p99": "inter-token p99"}
"""Compared figures with their display names: more is better for the first, less for the others."""


@dataclass(frozen=True)
class Grid:
    """A table that can be rendered in both formats."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        """Returns the table for the terminal."""
        table = table_of(*self.header, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Returns the table in Markdown, with its title as a heading."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [" | ".join(row) for row in (self.header, rule, *self.rows)]
        return "\n".join([f"### {self.title}", "", *(f"| {line} |" for line in lines), ""])


def grids(result: Result) -> list[Grid]:
    """Returns the table of ratios to the peers, one table per load in order of measuring, and the long prompt's."""
    kinds = dict.fromkeys((cell.shape, cell.workload) for cell in result.cells())
    ratios = [_of_ratios(result, *kind) for kind in kinds]
    tables = [_of_cell(result, cell) for cell in result.cells()]
    return [*ratios, *tables, *([_of_mixed(result)] if result.mixed else [])]


def _of_ratios(result: Result, shape: str, workload: str) -> Grid:
    cells = [cell for cell in result.cells() if (cell.shape, cell.workload) == (shape, workload)]
    peers = [name for name in dict.fromkeys(name for cell in cells for name in result.systems(cell)) if name != OURS]
    rows = [
        (f"{words} ÷ {peer}", *(_ratio(result, peer, cell, number) for cell in cells))
        for number, words in RATIOS.items()
        for peer in peers
    ]
    header = (OURS, *(f"{cell.concurrency} at a time" for cell in cells))
    return Grid(f"{shape}, {workload}: {OURS} beside the others", header, tuple(rows))


def _of_cell(result: Result, cell: Cell) -> Grid:
    header = ("system", "tokens/s", "TTFT p50 ms", "inter-token p50 ms", "p99 ms")
    rows = [
        (
            system,
            _range(result.of(system, cell, "tokens_per_second")),
            _range(result.of(system, cell, "first_token_p50")),
            _range(result.of(system, cell, "inter_token_p50"), 1),
            _range(result.of(system, cell, "inter_token_p99"), 1),
        )
        for system in result.systems(cell)
    ]
    return Grid(f"{cell.shape}, {cell.workload}, {cell.concurrency} at a time", header, tuple(rows))


def _of_mixed(result: Result) -> Grid:
    header = ("system", "p99 before, ms", "p99 during, ms", "longest pause, ms", "TTFT of the long prompt, ms")
    rows = []
    for key in dict.fromkeys((found.system, found.shape) for found in result.mixed):
        felt = [found.disturbance for found in result.mixed if (found.system, found.shape) == key]
        rows.append(
            (
                f"{key[0]} ({key[1]})",
                _range(spread([one.before_p99 for one in felt]), 1),
                _range(spread([one.during_p99 for one in felt]), 1),
                _range(spread([one.during_longest for one in felt]), 1),
                _range(spread([one.first_token for one in felt])),
            )
        )
    return Grid("Inter-token pauses of 16 streams when a prompt of 4,000 tokens arrives", header, tuple(rows))


def _ratio(result: Result, peer: str, cell: Cell, number: str) -> str:
    try:
        return _range(result.ratio(OURS, peer, cell, number), 2)
    except ValueError:
        return "–"


def _range(found: Spread, digits: int = 0) -> str:
    """Formats the median, with lowest and highest if they differ from it."""
    if found.lowest == found.highest:
        return f"{found.median:.{digits}f}"
    return f"{found.median:.{digits}f} ({found.lowest:.{digits}f}–{found.highest:.{digits}f})"
