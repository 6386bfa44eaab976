"""One utterance through a model that hears it while it is spoken: nothing is read twice."""

import time
from dataclasses import replace

from sensorium.errors import QueueFull
from services.speech.live.event import Result
from services.speech.live.following import Follower, Following
from services.speech.live.ledger import Ledger
from services.speech.live.reading import Reading, joined
from services.speech.live.utterance import Utterance
from services.speech.queue_waiting import RETRY_SECONDS, waited_for

_STEP_SECONDS = 0.04
"""Sound that is worth being handed over: half of what such models write a token of."""


class UtteranceFollower:
    """Stands where an UtteranceReader stands."""

    goes_along = True
    """Whether the model is to hear an utterance while it is spoken, though nobody wants interim results."""

    def __init__(self, utterance: Utterance, follower: Follower, rate: int, ledger: Ledger) -> None:
        """Makes one for samples at `rate` a second."""
        self.utterance = utterance
        self._follower = follower
        self._rate = rate
        self._ledger = ledger
        self._following: Following | None = None
        self._given = 0
        self._patience = 0.0
        """Until when the model is not asked again, on the clock of `time.monotonic`."""
        self._sent: Result | None = None

    @property
    def is_due(self) -> bool:
        """Whether there is something to hand over, or to wait for."""
        if self._following is None:
            return self._new > 0 and time.monotonic() >= self._patience
        least = 1 if self.utterance.settled else _STEP_SECONDS * self._rate
        return self._new >= least or not self._following.caught_up

    async def interim(self) -> Result | None:
        """Hands over what was heard, and returns what that changes; None if nothing, or the model has no room."""
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
        """Returns what was understood of the utterance, which is over."""
        following = await waited_for(self._begun)
        self._give(following)
        reading = await following.finished()
        self._ledger.read(reading)
        result = self._result(reading)
        return replace(
            result, final=True, stable_characters=len(result.text), confidence=reading.confidence, words=reading.words
        )

    def close(self) -> None:
        """Lets the model be."""
        if self._following is not None:
            self._following.cancel()

    @property
    def _new(self) -> int:
        """Samples that the model was not given, of those that are never left to the next utterance."""
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
        """Returns a result of which all is stable but the last word, which may go on."""
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
