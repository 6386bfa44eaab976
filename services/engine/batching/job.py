"""The items of one request, and their outputs."""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sensorium.call_record import followed
from sensorium.errors import SensoriumError


@dataclass(frozen=True, eq=False)
class Item:
    """One input of the model, such as a text, a pair of texts or an image."""

    inputs: Any
    """The item in the runner's own format."""
    length: int = 1
    """Its cost in tokens or images. Items of a batch are padded to the longest of them."""
    kind: Hashable = None
    """Only items of one kind share a batch."""


@dataclass(frozen=True)
class Unfinished:
    """A runner's output for an item that takes long: others have a turn before its rest."""

    rest: Item
    """The item to continue with."""


@dataclass(frozen=True)
class BatchTimes:
    """Where the time of one request went, in seconds since it was accepted."""

    queue: float
    """Until the model starts on the first item."""
    compute: float
    """The time of all batches that held its items."""
    total: float


@dataclass(frozen=True)
class Computed:
    """The runner's output for each item, in order."""

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
    """Number of items that wait in a queue, new or begun."""
    unbegun: int = 0
    """Number of items that have never been in a batch."""
    outputs: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timeline = followed(self.arrival, at_once=True)
        self.untaken = self.unbegun = len(self.items)

    @property
    def cost(self) -> int:
        """The items' lengths together."""
        return sum(item.length for item in self.items)

    def computed(self, now: float) -> Computed:
        """Returns the outputs in order, when all are there."""
        started = now if self.timeline.started is None else self.timeline.started
        times = BatchTimes(started - self.arrival, self.compute, now - self.arrival)
        return Computed([self.outputs[i] for i in range(len(self.items))], times)


def deliver(results: Sequence[tuple[Job, Computed | SensoriumError]]) -> None:
    """Ends the waits of requests, each with its outputs or with what ended it. Called on their event loop."""
    for job, result in results:
        if job.future.done():
            continue
        if isinstance(result, SensoriumError):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
