"""The kernels of some models' steps, each once."""

from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass
from typing import Any

from rich.table import Table

from benchmarks.gpu.compiled.binary import Binary
from benchmarks.gpu.compiled.compiling import Launch

_COLUMNS = (
    "for", "model", "step", "kernel", "programs", "warps", "registers", "spilled", "shared", "tensor", "loads",
    "of 16 bytes", "loop", "",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One compiled kernel."""

    capability: int
    model: str
    step: str
    """The model's first step that launches it."""
    kernel: str
    programs: int
    binary: Binary

    def told(self) -> dict[str, Any]:
        """Returns everything, for JSON."""
        return asdict(self) | {"hindrance": self.binary.hindrance(self.capability)}

    def cells(self) -> list[str]:
        """Returns a row of the table."""
        named = (self.capability, self.model, self.step, self.kernel, self.programs, *astuple(self.binary))
        return [*map(str, named), self.binary.hindrance(self.capability)]


def lines_of(
    capability: int, model: str, steps: list[tuple[str, list[Launch]]], loop_of: Collection[str] | None
) -> list[Line]:
    """Returns the kernels of a model's steps. A kernel that is compiled with other constants counts as another.

    Loops are counted in the kernels `loop_of`; None: in all.
    """
    known: set[int] = set()
    found: list[Line] = []
    for step, launches in steps:
        for launch in launches:
            if launch.kernel is not None and id(launch.kernel) not in known:
                known.add(id(launch.kernel))
                binary = Binary.of(launch.kernel, loop=loop_of is None or launch.name in loop_of)
                found.append(Line(capability, model, step, launch.name, launch.programs, binary))
    return found


def table_of(lines: list[Line]) -> Table:
    """Returns the lines as a table."""
    table = Table(*_COLUMNS)
    for line in lines:
        table.add_row(*line.cells())
    return table
