"""Results of one utterance from a streaming model, which reads each sample once."""

import time
from dataclasses import replace

from sensorium.errors import QueueFull
from services.speech.live.event import Result
from services.speech.live.following import Follower, Following
from services.speech.live.ledger import Ledger
from services.speech.live.reading import Reading, joined
from services.speech.live.utterance import Utterance
from services.speech.transcription.queue_waiting import RETRY_SECONDS, waited_for

_STEP_SECONDS = 0.04
"""Least audio to hand over at once: half a frame of these models, which write 12.5 tokens per second."""


class UtteranceFollower:
    """Pushes the samples of an utterance to a Follower. Has the same methods as UtteranceReader."""

    reads_along = True
    """The model reads along even if nobody wants interim results."""

    def __init__(self, utterance: Utterance, follower: Follower, rate: int, ledger: Ledger) -> None:
        """`rate` is the sample rate in Hz."""
        self.utterance = utterance
        self._follower = follower
        self._rate = rate
        self._ledger = ledger
        self._following: Following | None = None
        self._given = 0
        self._patience = 0.0
        """Time of the next attempt after a full queue, on the clock of `time.monotonic`."""
        self._sent: Result | None = None

    @property
    def is_due(self) -> bool:
        """Whether there are samples to push or text to wait for."""
        if self._following is None:
            return self._new > 0 and time.monotonic() >= self._patience
        least = 1 if self.utterance.settled else _STEP_SECONDS * self._rate
        return self._new >= least or not self._following.caught_up

    async def interim(self) -> Result | None:
        """Pushes new samples and returns the new result; None if the text is unchanged or the queue is full."""
        try:
            following = await self._begun()
        except QueueFull as full:
            self._patience = time.monotonic() + (full.retry_after or RETRY_SECONDS)
            return None
        self._give(following)
        result = self._result(await following.advanced())
        if not result.text or (self._sent is not None and self._sent.text == result.text):
            return None
        self._sent = result
        return result

    async def final(self) -> Result:
        """Returns the final result of an utterance that has ended."""
        following = await waited_for(self._begun)
        self._give(following)
        reading = await following.finished()
        self._ledger.read(reading)
        result = self._result(reading)
        return replace(
            result, final=True, stable_characters=len(result.text), confidence=reading.confidence, words=reading.words
        )

    def close(self) -> None:
        """Cancels the model's work on the utterance."""
        if self._following is not None:
            self._following.cancel()

    @property
    def _new(self) -> int:
        """Number of samples to push: not pushed yet, and certain to stay in this utterance."""
        utterance = self.utterance
        surely = utterance.length if utterance.over else min(utterance.length, utterance.uncut)
        return surely - self._given

    async def _begun(self) -> Following:
        self._following = self._following or self._follower.follow()
        return self._following

    def _give(self, following: Following) -> None:
        count = self._new
        if count > 0:
            following.push(self.utterance.since(self._given)[:count])
            self._given += count

    def _result(self, reading: Reading) -> Result:
        """Returns an interim result. All but the last word, which may grow, is stable."""
        start, text = self.utterance.begin / self._rate, joined(reading.words)
        last = len(reading.words[-1].space + reading.words[-1].text) if reading.words else 0
        return Result(
            utterance_index=self.utterance.index,
            text=text,
            final=False,
            stable_characters=max(len(text) - last, 0),
            stability=1.0,
            start=start,
            end=start + self._given / self._rate,
            language=reading.language,
        )
