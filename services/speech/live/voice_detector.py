"""One stream's probabilities of speech, frame by frame."""

import numpy as np

from services.engine.media.resampling import Resampler
from services.speech.live.voice_network import FRAME, RATE, Samples, VoiceNetwork, VoiceState

FRAME_SECONDS = FRAME / RATE


class VoiceDetector:
    """Takes samples in pieces of any size, and tells of every 32 ms how likely somebody speaks."""

    def __init__(self, network: VoiceNetwork, rate: int) -> None:
        """Makes one for `rate` samples a second."""
        self._network = network
        self._resampler = Resampler(rate, RATE)
        self._state = VoiceState()
        self._rest = np.empty(0, np.float32)

    def push(self, samples: Samples) -> list[float]:
        """Returns the probabilities, in [0, 1], of the frames that `samples`, `[n]`, complete."""
        return self._frames(self._resampler.push(samples))

    def end(self) -> list[float]:
        """Returns those of the last frames; silence fills up the very last."""
        rest = self._frames(self._resampler.push(np.empty(0, np.float32), last=True))
        if len(self._rest):
            rest += self._frames(np.zeros(FRAME - len(self._rest), np.float32))
        return rest

    def _frames(self, samples: Samples) -> list[float]:
        samples = np.concatenate((self._rest, samples))
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        return [self._network.probability(frame, self._state) for frame in samples[:whole].reshape(-1, FRAME)]
