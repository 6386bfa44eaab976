"""Readings of one utterance, from the first one worth while to the last one."""

import time

from sensorium.errors import QueueFull
from services.speech.live.event import Result
from services.speech.live.ledger import Ledger
from services.speech.live.reading import Reading, Recognizer, behind_context
from services.speech.live.transcript import UtteranceTranscript
from services.speech.live.utterance import Utterance
from services.speech.queue_waiting import RETRY_SECONDS, waited_for

_STEP_SECONDS = 0.2
"""Audio that makes another interim reading worth while."""
_FIRST_STEP_SECONDS = 0.1
"""The same until a word was heard, for which somebody waits."""
_REST = 3.0
"""After an interim reading the model is left alone while so many times as much audio comes as the reading took."""


class UtteranceReader:
    """Reads what was heard of an utterance, never twice the same, and never two at a time."""

    goes_along = False
    """What is read before the utterance is over is for interim results alone."""

    def __init__(self, utterance: Utterance, recognizer: Recognizer, rate: int, ledger: Ledger) -> None:
        """Makes one for samples at `rate` a second."""
        self.utterance = utterance
        self._recognizer = recognizer
        self._rate = rate
        self._ledger = ledger
        self._transcript = UtteranceTranscript(utterance, rate)
        self._tried = 0
        """Samples of the last reading, which may have failed."""
        self._rest = 0.0
        self._step = _FIRST_STEP_SECONDS
        self._latest: tuple[int, Reading] | None = None

    @property
    def is_due(self) -> bool:
        """Whether an interim reading is worth while: enough is new, or all there is before the silence ends."""
        new = self.utterance.length - self._tried
        return new >= max(self._step, self._rest) * self._rate or (self.utterance.settled and new > 0)

    async def interim(self) -> Result | None:
        """Returns what a reading of what was heard so far changes; None if nothing, or the model has no time."""
        length = self._tried = self.utterance.length
        began = time.monotonic()
        try:
            reading = await self._read()
        except QueueFull as full:
            self._rest = full.retry_after or RETRY_SECONDS
            return None
        self._rest = _REST * (time.monotonic() - began)
        self._latest = length, reading
        self._step = _STEP_SECONDS if reading.words else self._step
        return self._transcript.interim(reading, length)

    async def final(self) -> Result:
        """Returns what was understood of the utterance, which is over."""
        return self._transcript.final(await self._whole())

    def close(self) -> None:
        """Has nothing to give up."""

    async def _whole(self) -> Reading:
        if self._latest is not None and self._latest[0] == self.utterance.length:
            return self._latest[1]
        return await waited_for(self._read)

    async def _read(self) -> Reading:
        excerpt = self.utterance.excerpt()
        reading = await self._recognizer.recognize(excerpt.samples)
        self._ledger.read(reading)
        return behind_context(reading, excerpt.context / self._rate)
