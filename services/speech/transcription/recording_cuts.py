"""Cuts long recordings into windows at pauses, by a voice activity detector."""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from services.engine.threads.turns import give_way
from services.speech.live.voice_detector import VoiceDetector
from services.speech.live.voice_network import FRAME, RATE, VoiceNetwork

Samples = NDArray[np.float32]

_SHARE = 4
"""A window ends within its last quarter."""
_WARM_SECONDS = 1.0
"""Audio that the detector reads before the last quarter, to warm up its recurrent state."""
_SPEECH = 0.5
"""Frames at or above this probability count as speech."""


class RecordingCuts:
    """Cuts into windows of at most `seconds`, for samples at `rate` Hz. May be used by any thread."""

    def __init__(self, network: VoiceNetwork, rate: int, seconds: float) -> None:
        self._network = network
        self._rate = rate
        self.seconds = seconds
        self._longest = round(seconds * rate)

    def next(self, samples: Samples, begin: int) -> int:
        """Returns the end of the window that begins at sample `begin`: in a pause, or where speech is least likely.

        The rest of the recording is never shorter than a quarter of a window.
        """
        if len(samples) - begin <= self._longest:
            return len(samples)
        part = self._longest // _SHARE
        until = min(begin + self._longest, len(samples) - part)
        since = until - part
        warm = max(since - round(_WARM_SECONDS * self._rate), 0)
        detector, frames = VoiceDetector(self._network, self._rate), list[float]()
        detector.push(samples[warm:since])
        for start in range(since, until, self._rate):
            give_way()
            frames += detector.push(samples[start : min(start + self._rate, until)])
        # The first frame may begin before `since`: the error of at most 32 ms is less than a pause.
        return since + min(round(_pause(frames) * FRAME / RATE * self._rate), part)


def _pause(probabilities: list[float]) -> float:
    """Returns the middle of the longest run without speech, in frames; without such a run, the least likely frame."""
    runs: list[tuple[int, int]] = []
    place = 0
    for speech, run in groupby(probability >= _SPEECH for probability in probabilities):
        count = len(list(run))
        if not speech:
            runs.append((count, place))
        place += count
    if runs:
        count, first = max(runs, key=lambda run: run[0])
        return first + count / 2
    return int(np.argmin(probabilities)) + 0.5 if probabilities else 0.0
