"""What the event loop sees of one utterance that is written down while it is heard."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.engine.following.model import Written
from services.engine.generation.requests.request import GenerationTimes
from services.engine.media.recording import Samples

Letter = Samples | None
"""Samples, or the end of them."""


@dataclass(frozen=True)
class Progress:
    """What became known of it."""

    written: Sequence[Written] = ()
    heard: int | None = None
    """Samples behind which nothing can be written until more come; None while there are steps to take."""
    end: GenerationTimes | Exception | None = None


class FollowingStream:
    """Belongs to the event loop on which it was made."""

    def __init__(self, send: Callable[[Letter], object], leave: Callable[[], object]) -> None:
        """`send` is called with samples and with the end of them, `leave` when nobody wants the rest."""
        self.loop = asyncio.get_running_loop()
        self.written: list[Written] = []
        self.times: GenerationTimes | None = None
        """Where the time went, once all is written."""
        self._send = send
        self._leave = leave
        self._sent = 0
        self._heard = 0
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def push(self, samples: Samples) -> None:
        """Hands over the next samples, `[n]`, which nobody changes any more."""
        self._sent += len(samples)
        self._send(samples)

    def end(self) -> None:
        """Lets it be written to its end."""
        self._send(None)

    def cancel(self) -> None:
        """Lets the rest be. Harmless after the end."""
        self._leave()
        self._send, self._leave, self._error = _nothing, _nothing, None  # or both sides would keep each other

    @property
    def caught_up(self) -> bool:
        """Whether all that was handed over is worked on."""
        return self._heard == self._sent or self.times is not None

    async def advanced(self, known: int) -> None:
        """Returns when more than `known` tokens are written, or all that was handed over is worked on.

        Raises what ended it, if anything did.
        """
        await self._until(lambda: len(self.written) > known or self.caught_up)

    async def finished(self) -> GenerationTimes:
        """Returns what it took, when all is written. Raises what ended it before, if anything did."""
        await self._until(lambda: self.times is not None)
        assert self.times is not None
        return self.times

    def deliver(self, progress: Progress) -> None:
        """Takes what became known. Called on the event loop."""
        self.written += progress.written
        if progress.heard is not None:
            self._heard = progress.heard
        if isinstance(progress.end, Exception):
            self._error = progress.end
        elif progress.end is not None:
            self.times = progress.end
        self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()


def _nothing(_letter: Letter = None) -> None:
    """Stands for what nobody is to be told any more."""
