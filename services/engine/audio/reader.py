"""From the bytes of a recording to what the model reads."""

import math
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from sensorium.errors import DeadlineExceeded
from services.engine.media.recording import AudioLimits, Samples, open_recording
from services.engine.media.refusal import AudioRefused
from services.engine.media.resampling import Resampler
from services.engine.threads.turns import give_way, hold_much

FRAMES_PER_SECOND = 50
"""What batches and queues are counted in: most models make one state of 20 ms of sound."""
_FEATURES_PER_SECOND = 100
_LONG_SECONDS = 60
"""Of a recording that others need not wait for: it takes a tenth of a second or so, and 64 kB each."""


@dataclass(frozen=True, eq=False)
class Sound:
    """What a recording holds, at the rate of the model."""

    samples: Samples
    seconds: float
    """As it was sent."""


@dataclass(frozen=True, eq=False)
class AudioInputs:
    """What the model reads of one item, each without a dimension for the batch."""

    tensors: Mapping[str, Tensor]
    kind: Hashable
    """Equal for items that can lie side by side."""
    length: int
    """What it costs, in frames of 20 ms."""


class AudioReader:
    """Decodes and resamples recordings, and makes features of them as the checkpoint's own extractor does.

    For any thread.
    """

    def __init__(self, extractor: Any, limits: AudioLimits) -> None:
        self._extractor = extractor
        self.rate = int(extractor.sampling_rate)
        self.limits = limits
        self.pads = False
        """Whether inputs of unequal lengths can lie side by side."""
        # CLAP's extractor draws by chance what it reads of more than that.
        self._most: int | None = getattr(extractor, "nb_max_samples", None) if _draws(extractor) else None
        self.fewest = 1
        """Samples that the model reads at least."""

    def decode(self, data: bytes, media_type: str, deadline: float | None = None) -> Sound:
        """Returns the sound of a recording's file.

        Raises:
            AudioRefused: see `open_recording` and `Recording.blocks`.
            DeadlineExceeded: the deadline, on the clock of `time.monotonic`, passed while it was decoded.
        """
        recording = open_recording(data, media_type, self.limits)
        resampler = Resampler(recording.rate, self.rate)
        pieces: list[Samples] = []
        count = 0
        for block in recording.blocks():
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlineExceeded("The deadline passed while audio was decoded.")
            count += len(block)
            if count > _LONG_SECONDS * recording.rate:
                hold_much()
            give_way()
            pieces.append(resampler.push(block))
        pieces.append(resampler.push(np.empty(0, np.float32), last=True))
        return Sound(np.concatenate(pieces), count / recording.rate)

    def process(self, samples: Samples) -> AudioInputs:
        """Returns what the model reads of samples at its rate. One that reads so much and no more reads the beginning.

        Raises:
            AudioRefused: there are too few.
        """
        self.check_length(samples)
        found = self._extractor(samples[: self._most], sampling_rate=self.rate, return_tensors="pt")
        tensors = {name: value[0] for name, value in found.items() if isinstance(value, Tensor)}
        return AudioInputs(tensors, self._kind(tensors), self._length(tensors))

    def check_length(self, samples: Samples) -> None:
        """Refuses samples that are too few for the model. Raises AudioRefused."""
        if len(samples) < self.fewest:
            least = self.fewest / self.rate
            raise AudioRefused(f"is {len(samples) / self.rate:.3g} s long, and the model reads at least {least:.3g} s")

    def frames(self, samples: int) -> int:
        """Returns what so many samples cost a model that reads no more than there is."""
        return max(math.ceil(samples * FRAMES_PER_SECOND / self.rate), 1)

    def _kind(self, tensors: Mapping[str, Tensor]) -> Hashable:
        first = 1 if self.pads else 0
        return tuple((name, value.shape[first:], value.dtype) for name, value in sorted(tensors.items()))

    def _length(self, tensors: Mapping[str, Tensor]) -> int:
        """Features come every 10 ms in all models; some read the samples themselves."""
        largest = max(tensors.values(), key=Tensor.numel)
        longest = max(largest.shape)
        rate = self.rate if largest.numel() == longest else _FEATURES_PER_SECOND
        return math.ceil(longest * FRAMES_PER_SECOND / rate)


def _draws(extractor: Any) -> bool:
    return getattr(extractor, "truncation", None) in {"rand_trunc", "fusion"}
