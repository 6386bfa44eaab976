"""The way from the engine's thread to the event loop: one call per loop and step, however many streams move."""

import asyncio
from collections import defaultdict
from contextlib import suppress

from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Event

Parcel = tuple[GenerationStream, Event | Exception]


class Outbox:
    """Collects a step's events. Belongs to the engine's thread."""

    def __init__(self) -> None:
        self._parcels: defaultdict[asyncio.AbstractEventLoop, list[Parcel]] = defaultdict(list)

    def add(self, stream: GenerationStream, event: Event | Exception) -> None:
        """Keeps an event until `send`."""
        self._parcels[stream.loop].append((stream, event))

    def send(self) -> None:
        """Hands everything over. Events for a loop that has been closed have no reader and are dropped."""
        for loop, parcels in self._parcels.items():
            # A check beforehand would not do: the loop belongs to another thread, which may close it at any time.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, parcels)
        self._parcels = defaultdict(list)


def _deliver(parcels: list[Parcel]) -> None:
    for stream, event in parcels:
        stream.deliver(event)
