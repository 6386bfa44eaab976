"""The event loop's side of one utterance in the engine."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.engine.following.model import Written
from services.engine.generation.requests.request import GenerationTimes
from services.engine.media.recording import Samples

Letter = Samples | None
"""Samples; None is their end."""


@dataclass(frozen=True)
class Progress:
    """News of an utterance from the engine."""

    written: Sequence[Written] = ()
    heard: int | None = None
    """Number of samples processed, sent when no step is possible until more arrive; None while there are steps."""
    end: GenerationTimes | Exception | None = None


class FollowingStream:
    """Takes samples and collects tokens. Belongs to the event loop on which it was made."""

    def __init__(self, send: Callable[[Letter], object], leave: Callable[[], object]) -> None:
        """`send` is called with samples and their end, `leave` when the stream is cancelled."""
        self.loop = asyncio.get_running_loop()
        self.written: list[Written] = []
        self.times: GenerationTimes | None = None
        """Timing, once the last token is written."""
        self._send = send
        self._leave = leave
        self._sent = 0
        self._heard = 0
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def push(self, samples: Samples) -> None:
        """Sends samples `[n]` to the engine. They must not be changed afterwards."""
        self._sent += len(samples)
        self._send(samples)

    def end(self) -> None:
        """Marks the end of the audio."""
        self._send(None)

    def cancel(self) -> None:
        """Cancels the utterance. Does nothing after its end."""
        self._leave()
        self._send, self._leave, self._error = _nothing, _nothing, None  # breaks reference cycles with the engine

    @property
    def caught_up(self) -> bool:
        """Whether the engine has processed all samples as far as it can."""
        return self._heard == self._sent or self.times is not None

    async def advanced(self, known: int) -> None:
        """Waits until more than `known` tokens are written or the engine has caught up.

        Raises the error that ended the utterance, if any.
        """
        await self._until(lambda: len(self.written) > known or self.caught_up)

    async def finished(self) -> GenerationTimes:
        """Waits for the last token and returns the timing. Raises the error that ended the utterance, if any."""
        await self._until(lambda: self.times is not None)
        assert self.times is not None
        return self.times

    def deliver(self, progress: Progress) -> None:
        """Takes news from the engine. Called on the event loop."""
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
    """Replaces callbacks of a cancelled stream."""
