"""When utterances begin and end, by the probabilities of speech of one frame after the other."""

import math
from collections import deque
from dataclasses import dataclass

from services.speech.live.voice_detector import FRAME_SECONDS

_CUT_SHARE = 4
"""An utterance that is too long is cut within the last one of so many parts of it."""


@dataclass(frozen=True)
class Endpointing:
    """What an utterance is. Durations are in seconds, and count in whole frames."""

    speech_threshold: float = 0.5
    min_speech: float = 0.1
    min_silence: float = 0.5
    padding: float = 0.2
    max_utterance: float = 30.0
    cut: float | None = None
    """An utterance that is too long is cut within so much of its end; None: within a quarter of it."""


@dataclass(frozen=True)
class Began:
    """Speech began."""

    speech: int
    """The first frame of it."""
    audio: int
    """The first frame of the utterance."""


@dataclass(frozen=True)
class Ended:
    """Speech ended."""

    speech: int
    """The frame behind it."""
    audio: int
    """The frame behind the utterance."""


Moment = Began | Ended


class Endpointer:
    """Hears one frame after the other. Utterances share no speech; silence between two may be taken into both."""

    def __init__(self, endpointing: Endpointing) -> None:
        self._threshold = endpointing.speech_threshold
        self._min_speech = _at_least(endpointing.min_speech)
        self._min_silence = _at_least(endpointing.min_silence)
        self._padding = round(endpointing.padding / FRAME_SECONDS)
        self._longest = max(math.floor(endpointing.max_utterance / FRAME_SECONDS), 2)
        self._now = 0
        self._run = 0
        """Frames of speech in a row, up to now."""
        self._begin: int | None = None
        """The first frame of the utterance that is going on."""
        self._silent_since = 0
        """The frame behind the last one of speech that was in an utterance."""
        self._cut_within = max(self._longest // _CUT_SHARE, 1)
        if endpointing.cut is not None:
            self._cut_within = min(_at_least(endpointing.cut), self._cut_within)
        self._latest: deque[float] = deque(maxlen=self._cut_within)

    @property
    def lookback(self) -> int:
        """Frames before now with which an utterance may begin."""
        return self._min_speech + self._padding

    @property
    def audio_until(self) -> int:
        """The frame behind the utterance that is going on, were it to end now."""
        return min(self._silent_since + self._padding, self._now)

    @property
    def settled(self) -> bool:
        """Whether an utterance is going on that will not grow while the silence lasts."""
        return self._begin is not None and self._silent_since + self._padding <= self._now

    @property
    def uncut(self) -> int:
        """Frames from the beginning of an utterance that are never left to the next one."""
        return self._longest - self._cut_within

    def hear(self, probability: float) -> tuple[Moment, ...]:
        """Takes the next frame and returns what it makes known, in order."""
        self._now += 1
        self._run = self._run + 1 if probability >= self._threshold else 0
        self._latest.append(probability)
        return self._in_silence() if self._begin is None else self._in_utterance(self._begin)

    def end(self) -> tuple[Moment, ...]:
        """Returns what the end of the audio makes known."""
        return () if self._begin is None else (self._end(),)

    def _in_silence(self) -> tuple[Moment, ...]:
        if self._run < self._min_speech:
            return ()
        speech = self._now - self._run
        self._begin = max(speech - self._padding, self._silent_since)
        self._silent_since = self._now
        return (Began(speech, self._begin),)

    def _in_utterance(self, begin: int) -> tuple[Moment, ...]:
        if self._run:
            self._silent_since = self._now
        if self._now - self._silent_since >= self._min_silence:
            return (self._end(),)
        if self._now - begin < self._longest:
            return ()
        return self._cut() if self._run else (self._end(),)

    def _end(self) -> Ended:
        ended = Ended(self._silent_since, self.audio_until)
        self._begin, self._run = None, 0
        return ended

    def _cut(self) -> tuple[Moment, ...]:
        """Ends the utterance in the middle of speech, where this is the least likely to be inside a word."""
        latest = list(self._latest)
        cut = self._now - len(latest) + latest.index(min(latest))
        self._begin = cut
        return Ended(cut, cut), Began(cut, cut)


def _at_least(seconds: float) -> int:
    return max(round(seconds / FRAME_SECONDS), 1)
