"""The way from the engine's thread to the event loop: one call per loop and step, however many streams move."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Event

Parcel = tuple[GenerationStream, Event | Exception]


class Outbox:
    """Collects a step's events. Belongs to the engine's thread."""

    def __init__(self) -> None:
        self._parcels: defaultdict[asyncio.AbstractEventLoop, list[Parcel]] = defaultdict(list)
        self._held: dict[OutputBuilder, SequenceGroup] = {}

    def hold(self, group: SequenceGroup, output: OutputBuilder) -> None:
        """Notes that there is something new in an output. It is taken before anything that is added for its stream."""
        self._held[output] = group

    def hold_all(self, outputs: Mapping[OutputBuilder, SequenceGroup]) -> None:
        """Does what `hold` does for many."""
        self._held.update(outputs)

    def collect(self, *, soon: bool) -> list[tuple[SequenceGroup, Exception]]:
        """Takes what is new in outputs: where another step ends `soon`, only what may be read at once.

        So nothing is made for each token, handed over and merged where tokens come faster than messages. Returns the
        requests for which that failed.
        """
        now = time.monotonic() if soon else math.inf
        failed: list[tuple[SequenceGroup, Exception]] = []
        for output, group in list(self._held.items()):
            if not soon or group.stream.due <= now or output.waiting >= group.stream.most_held:
                try:
                    self._take(output)
                except Exception as error:
                    failed.append((group, error))
        return failed

    def add(self, stream: GenerationStream, event: Event | Exception) -> None:
        """Keeps an event until `send`, behind what is held of its stream.

        Raises:
            Exception: what is new in an output could not be taken, and the event is no error itself.
        """
        for output in [output for output, group in self._held.items() if group.stream is stream]:
            try:
                self._take(output)
            except Exception:
                if not isinstance(event, Exception):
                    raise
        self._parcels[stream.loop].append((stream, event))

    def send(self) -> None:
        """Hands everything over. Events for a loop that has been closed have no reader and are dropped."""
        for loop, parcels in self._parcels.items():
            # A check beforehand would not do: the loop belongs to another thread, which may close it at any time.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, parcels)
        self._parcels = defaultdict(list)

    def _take(self, output: OutputBuilder) -> None:
        stream = self._held.pop(output).stream
        if delta := output.take():
            self._parcels[stream.loop].append((stream, delta))


def _deliver(parcels: list[Parcel]) -> None:
    for stream, event in parcels:
        stream.deliver(event)
