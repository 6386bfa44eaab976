"""The items of one request, and what became of them."""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sensorium.call_record import followed


@dataclass(frozen=True, eq=False)
class Item:
    """One thing the model reads at once: a text, a pair of texts, an image."""

    inputs: Any
    """What the runner makes a batch of."""
    length: int = 1
    """What it costs, in tokens or images. Shorter items of a batch are padded to the longest."""
    kind: Hashable = None
    """Only items of one kind share a batch."""


@dataclass(frozen=True)
class Unfinished:
    """What a runner returns of an item that takes long: others have a turn before it goes on."""

    rest: Item
    """With which it goes on."""


@dataclass(frozen=True)
class BatchTimes:
    """Where the time of one request went, in seconds since it was accepted."""

    queue: float
    """Until the model first worked on it."""
    compute: float
    """In which the model worked on it, in company or not."""
    total: float


@dataclass(frozen=True)
class Computed:
    """What the runner returned for each item, in order."""

    outputs: list[Any]
    times: BatchTimes


@dataclass(eq=False)
class Job:
    """The items of one request. `future` belongs to the event loop, everything else to the batcher's thread."""

    items: Sequence[Item]
    deadline: float | None
    arrival: float
    future: asyncio.Future[Computed]
    input_tokens: int = 0
    ended: bool = False
    compute: float = 0.0
    untaken: int = 0
    outputs: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timeline = followed(self.arrival, at_once=True)
        self.untaken = len(self.items)

    @property
    def cost(self) -> int:
        """The items' lengths together."""
        return sum(item.length for item in self.items)

    def computed(self, now: float) -> Computed:
        """Returns the outputs in order; all are there."""
        started = now if self.timeline.started is None else self.timeline.started
        times = BatchTimes(started - self.arrival, self.compute, now - self.arrival)
        return Computed([self.outputs[i] for i in range(len(self.items))], times)
