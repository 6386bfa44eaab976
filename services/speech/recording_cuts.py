"""Where a long recording is cut into windows: where nobody speaks, or least likely."""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from services.engine.threads.turns import give_way
from services.speech.live.voice_detector import VoiceDetector
from services.speech.live.voice_network import FRAME, RATE, VoiceNetwork

Samples = NDArray[np.float32]

_SHARE = 4
"""A window ends within the last one of so many parts of it."""
_WARM_SECONDS = 1.0
"""Sound that the detector hears before it is asked."""
_SPEECH = 0.5
"""Probability from which a frame counts as speech."""


class RecordingCuts:
    """For windows of at most `seconds` at `rate` samples a second. For any thread."""

    def __init__(self, network: VoiceNetwork, rate: int, seconds: float) -> None:
        self._network = network
        self._rate = rate
        self.seconds = seconds
        self._longest = round(seconds * rate)

    def next(self, samples: Samples, begin: int) -> int:
        """Returns where the window ends that begins at sample `begin`: within a pause, or where speech is least likely.

        What is left behind it is never shorter than a quarter of a window.
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
        # A frame of the detector begun before the part is counted to it: that is less than what a pause takes.
        return since + min(round(_pause(frames) * FRAME / RATE * self._rate), part)


def _pause(probabilities: list[float]) -> float:
    """Returns the middle of the longest run of frames without speech, or of the least likely one, in frames."""
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
