"""Decides when utterances begin and end, from the speech probability of each frame."""

import math
from collections import deque
from dataclasses import dataclass

from services.speech.live.voice_detector import FRAME_SECONDS

_CUT_SHARE = 4
"""An utterance that is too long is cut within its last quarter."""


@dataclass(frozen=True)
class Endpointing:
    """Options of endpointing. Durations are in seconds, rounded to whole frames."""

    speech_threshold: float = 0.5
    min_speech: float = 0.1
    min_silence: float = 0.5
    padding: float = 0.2
    max_utterance: float = 30.0
    cut: float | None = None
    """An utterance that is too long is cut within its last `cut` seconds; None: within its last quarter."""


@dataclass(frozen=True)
class Began:
    """Speech began."""

    speech: int
    """First frame of speech."""
    audio: int
    """First frame of the utterance, padding included."""


@dataclass(frozen=True)
class Ended:
    """Speech ended."""

    speech: int
    """The frame after the last one of speech."""
    audio: int
    """The frame after the utterance, padding included."""


Moment = Began | Ended


class Endpointer:
    """Takes frames one by one. Utterances share no speech, but their padding may overlap."""

    def __init__(self, endpointing: Endpointing) -> None:
        self._threshold = endpointing.speech_threshold
        self._min_speech = _at_least(endpointing.min_speech)
        self._min_silence = _at_least(endpointing.min_silence)
        self._padding = round(endpointing.padding / FRAME_SECONDS)
        self._longest = max(math.floor(endpointing.max_utterance / FRAME_SECONDS), 2)
        self._now = 0
        self._run = 0
        """Consecutive frames of speech up to now."""
        self._begin: int | None = None
        """First frame of the open utterance."""
        self._silent_since = 0
        """The frame after the last speech frame of any utterance."""
        self._cut_within = max(self._longest // _CUT_SHARE, 1)
        if endpointing.cut is not None:
            self._cut_within = min(_at_least(endpointing.cut), self._cut_within)
        self._latest: deque[float] = deque(maxlen=self._cut_within)

    @property
    def lookback(self) -> int:
        """How many frames before now a new utterance may begin."""
        return self._min_speech + self._padding

    @property
    def audio_until(self) -> int:
        """The frame after the open utterance if it ended now."""
        return min(self._silent_since + self._padding, self._now)

    @property
    def settled(self) -> bool:
        """Whether an utterance is open that grows no more unless speech resumes."""
        return self._begin is not None and self._silent_since + self._padding <= self._now

    @property
    def uncut(self) -> int:
        """Number of an utterance's first frames that a cut never moves to the next one."""
        return self._longest - self._cut_within

    def hear(self, probability: float) -> tuple[Moment, ...]:
        """Takes the speech probability of the next frame; returns beginnings and ends that it reveals, in order."""
        self._now += 1
        self._run = self._run + 1 if probability >= self._threshold else 0
        self._latest.append(probability)
        return self._in_silence() if self._begin is None else self._in_utterance(self._begin)

    def end(self) -> tuple[Moment, ...]:
        """Takes the end of the audio; returns the end of the open utterance, if any."""
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
        """Cuts an utterance during speech, at the frame with the least speech probability among the latest ones."""
        latest = list(self._latest)
        cut = self._now - len(latest) + latest.index(min(latest))
        self._begin = cut
        return Ended(cut, cut), Began(cut, cut)


def _at_least(seconds: float) -> int:
    return max(round(seconds / FRAME_SECONDS), 1)
