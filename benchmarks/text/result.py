"""The result of a run: one entry per system, load and repeat, and notes on failures."""

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.text.mixed import Disturbance
from benchmarks.text.statistics import Numbers, Spread, ratio, spread


@dataclass(frozen=True)
class Cell:
    """A load on a model: one row of the report."""

    shape: str
    workload: str
    concurrency: int


@dataclass(frozen=True)
class Measurement:
    """One system under one load in one repeat."""

    system: str
    cell: Cell
    repeat: int
    numbers: Numbers
    foreign_cores: float
    """Cores that other processes used meanwhile."""


@dataclass(frozen=True)
class MixedMeasurement:
    """One system with a long prompt arriving among running streams, in one repeat."""

    system: str
    shape: str
    repeat: int
    disturbance: Disturbance
    foreign_cores: float


@dataclass
class Result:
    """Everything measured, in order of time."""

    measurements: list[Measurement] = field(default_factory=list)
    mixed: list[MixedMeasurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was not measured and why, and disturbances by other processes."""

    def note(self, text: str) -> None:
        """Adds a note, unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    def cells(self) -> list[Cell]:
        """Returns the loads measured, in order of first appearance."""
        return list(dict.fromkeys(measurement.cell for measurement in self.measurements))

    def systems(self, cell: Cell) -> list[str]:
        """Returns the systems measured under this load, in order of first appearance."""
        return list(dict.fromkeys(found.system for found in self.measurements if found.cell == cell))

    def of(self, system: str, cell: Cell, number: str) -> Spread:
        """Returns a system's figure `number` over its repeats. Raises ValueError if it was never measured."""
        return spread([getattr(found.numbers, number) for found in self._repeats(system, cell).values()])

    def ratio(self, ours: str, peer: str, cell: Cell, number: str) -> Spread:
        """Returns our figure ÷ the peer's within each repeat. Raises ValueError if no repeat has both."""
        own, other = self._repeats(ours, cell), self._repeats(peer, cell)
        both = sorted(own.keys() & other.keys())
        return ratio(*([getattr(one[repeat].numbers, number) for repeat in both] for one in (own, other)))

    def as_json(self) -> dict[str, Any]:
        """Returns everything as JSON-compatible types."""
        return asdict(self)

    def _repeats(self, system: str, cell: Cell) -> dict[int, Measurement]:
        return {found.repeat: found for found in self.measurements if (found.system, found.cell) == (system, cell)}
