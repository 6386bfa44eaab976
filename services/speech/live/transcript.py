"""Turns the readings of one utterance into results."""

from collections.abc import Sequence
from dataclasses import replace

from services.speech.live.agreement import Agreement
from services.speech.live.event import Result
from services.speech.live.reading import Reading, Word, joined
from services.speech.live.utterance import Utterance

_LATE_SECONDS = 0.3
"""Words that end within this time of the audio's end may still change with more audio."""


class UtteranceTranscript:
    """Makes results of readings. Each keeps the text that an earlier one declared stable."""

    def __init__(self, utterance: Utterance, rate: int) -> None:
        self._utterance = utterance
        self._rate = rate
        self._agreement = Agreement()
        self._sent: Result | None = None

    def interim(self, reading: Reading, length: int) -> Result | None:
        """Returns the result of a reading of the first `length` samples; None if it changes nothing."""
        until = min(length / self._rate - _LATE_SECONDS, self._utterance.uncut / self._rate)
        hypothesis = self._agreement.take(reading.words, until, uncut=length <= self._utterance.uncut)
        stable = joined(hypothesis.words[: hypothesis.stable_count])
        result = replace(
            self._result(hypothesis.words, reading, length),
            stable_characters=len(stable),
            stability=hypothesis.stability,
        )
        if result == self._sent or not (result.text or self._sent):
            return None
        self._sent = result
        return result

    def final(self, reading: Reading) -> Result:
        """Returns the final result, from the reading of the whole utterance."""
        words = self._agreement.close(reading.words)
        result = self._result(words, reading, self._utterance.length)
        return replace(
            result,
            final=True,
            stable_characters=len(result.text),
            stability=1.0,
            confidence=reading.confidence,
            cut=reading.cut,
            words=[self._on_the_streams_clock(word) for word in words],
        )

    def _result(self, words: Sequence[Word], reading: Reading, length: int) -> Result:
        ended = words[-1].end if words else None
        return Result(
            utterance_index=self._utterance.index,
            text=joined(words),
            final=False,
            stable_characters=0,
            stability=None,
            start=self._start,
            end=self._start + (length / self._rate if ended is None else ended),
            language=reading.language,
        )

    @property
    def _start(self) -> float:
        return self._utterance.begin / self._rate

    def _on_the_streams_clock(self, word: Word) -> Word:
        if word.start is None or word.end is None:
            return word
        return replace(word, start=self._start + word.start, end=self._start + word.end)
