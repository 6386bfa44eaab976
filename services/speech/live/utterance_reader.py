"""Results of one utterance from a model that reads it again each time it has grown."""

import time

from sensorium.errors import QueueFull
from services.speech.live.event import Result
from services.speech.live.ledger import Ledger
from services.speech.live.reading import Reading, Recognizer, behind_context
from services.speech.live.transcript import UtteranceTranscript
from services.speech.live.utterance import Utterance
from services.speech.transcription.queue_waiting import RETRY_SECONDS, waited_for

_STEP_SECONDS = 0.2
"""New audio before the next interim reading."""
_FIRST_STEP_SECONDS = 0.1
"""The same until the first word is found, for a quick first result."""
_REST = 3.0
"""The next interim reading waits for this many times as much audio as the last one took time."""


class UtteranceReader:
    """Asks a Recognizer for interim and final readings, one at a time and never twice for the same samples."""

    reads_along = False
    """The model reads along only if interim results are wanted."""

    def __init__(self, utterance: Utterance, recognizer: Recognizer, rate: int, ledger: Ledger) -> None:
        """`rate` is the sample rate in Hz."""
        self.utterance = utterance
        self._recognizer = recognizer
        self._rate = rate
        self._ledger = ledger
        self._transcript = UtteranceTranscript(utterance, rate)
        self._tried = 0
        """Length in samples of the last attempt, failed ones included."""
        self._rest = 0.0
        self._step = _FIRST_STEP_SECONDS
        self._latest: tuple[int, Reading] | None = None

    @property
    def is_due(self) -> bool:
        """Whether to make an interim reading: enough audio is new, or the utterance has settled with unread audio."""
        new = self.utterance.length - self._tried
        return new >= max(self._step, self._rest) * self._rate or (self.utterance.settled and new > 0)

    async def interim(self) -> Result | None:
        """Reads the audio so far and returns the new result; None if it is unchanged or the queue is full."""
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
        """Returns the final result of an utterance that has ended."""
        return self._transcript.final(await self._whole())

    def close(self) -> None:
        """Does nothing: no reading is left open."""

    async def _whole(self) -> Reading:
        if self._latest is not None and self._latest[0] == self.utterance.length:
            return self._latest[1]
        return await waited_for(self._read)

    async def _read(self) -> Reading:
        excerpt = self.utterance.excerpt()
        reading = await self._recognizer.recognize(excerpt.samples)
        self._ledger.read(reading)
        return behind_context(reading, excerpt.context / self._rate)
