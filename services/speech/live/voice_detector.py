"""Voice activity of one stream: a speech probability for each frame of 32 ms."""

import numpy as np

from services.engine.media.resampling import Resampler
from services.speech.live.voice_network import FRAME, RATE, Samples, VoiceNetwork, VoiceState

FRAME_SECONDS = FRAME / RATE


class VoiceDetector:
    """Takes samples in pieces of any size, resamples them to 16 kHz and runs the network frame by frame."""

    def __init__(self, network: VoiceNetwork, rate: int) -> None:
        """`rate` is the input's sample rate in Hz."""
        self._network = network
        self._resampler = Resampler(rate, RATE)
        self._state = VoiceState()
        self._rest = np.empty(0, np.float32)

    def push(self, samples: Samples) -> list[float]:
        """Returns speech probabilities in [0, 1] of the frames that `samples` `[n]` complete."""
        return self._frames(self._resampler.push(samples))

    def end(self) -> list[float]:
        """Returns the probabilities of the last frames; the last one is padded with silence."""
        rest = self._frames(self._resampler.push(np.empty(0, np.float32), last=True))
        if len(self._rest):
            rest += self._frames(np.zeros(FRAME - len(self._rest), np.float32))
        return rest

    def _frames(self, samples: Samples) -> list[float]:
        samples = np.concatenate((self._rest, samples))
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        return [self._network.probability(frame, self._state) for frame in samples[:whole].reshape(-1, FRAME)]
