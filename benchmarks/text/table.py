"""A result for people: tables of the terminal, and the same in Markdown."""

from dataclasses import dataclass

from rich.table import Table

from benchmarks.text.result import Cell, Result
from benchmarks.text.statistics import Spread, spread

OURS = "sensorium"


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        """Returns it for the terminal."""
        table = Table(title=self.title, title_justify="left")
        for index, name in enumerate(self.header):
            table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Returns it with its title as a heading."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [" | ".join(row) for row in (self.header, rule, *self.rows)]
        return "\n".join([f"### {self.title}", "", *(f"| {line} |" for line in lines), ""])


def grids(result: Result) -> list[Grid]:
    """Returns one table per load, in order of measuring, then the one of the long prompt if that was measured."""
    tables = [_of_cell(result, cell) for cell in result.cells()]
    return [*tables, *([_of_mixed(result)] if result.mixed else [])]


def _of_cell(result: Result, cell: Cell) -> Grid:
    header = ("system", "tokens/s", "TTFT p50 ms", "inter-token p50 ms", "p99 ms", f"{OURS} is … times as fast")
    rows = [
        (
            system,
            _range(result.of(system, cell, "tokens_per_second")),
            _range(result.of(system, cell, "first_token_p50")),
            _range(result.of(system, cell, "inter_token_p50"), 1),
            _range(result.of(system, cell, "inter_token_p99"), 1),
            _ratio(result, system, cell),
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


def _ratio(result: Result, system: str, cell: Cell) -> str:
    if system == OURS:
        return ""
    try:
        return _range(result.speed_ratio(OURS, system, cell), 2)
    except ValueError:
        return "–"


def _range(found: Spread, digits: int = 0) -> str:
    """Returns the median, and the lowest and highest where they differ from it."""
    if found.lowest == found.highest:
        return f"{found.median:.{digits}f}"
    return f"{found.median:.{digits}f} ({found.lowest:.{digits}f}–{found.highest:.{digits}f})"
