"""Turns the bytes of a recording into the model's inputs."""

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
"""The unit of batches and queues: most models make one hidden state for each 20 ms of audio."""
_FEATURES_PER_SECOND = 100
_LONG_SECONDS = 60
"""Longer recordings are decoded by few threads at a time: each takes 64 kB per second. Up to here decoding takes
about a tenth of a second."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A decoded recording."""

    samples: Samples
    """`[n]`, at the model's sample rate."""
    seconds: float
    """Length before resampling."""


@dataclass(frozen=True, eq=False)
class AudioInputs:
    """The model's inputs for one item, without a batch dimension."""

    tensors: Mapping[str, Tensor]
    kind: Hashable
    """Items with equal kinds can share a batch."""
    length: int
    """Cost in frames of 20 ms."""


class AudioReader:
    """Decodes and resamples recordings, and makes features with the checkpoint's own extractor.

    May be used by any thread.
    """

    def __init__(self, extractor: Any, limits: AudioLimits) -> None:
        self._extractor = extractor
        self.rate = int(extractor.sampling_rate)
        self.limits = limits
        self.pads = False
        """Whether inputs of unequal lengths can share a padded batch."""
        # CLAP's extractor picks a random part of longer audio: cutting to the beginning keeps answers reproducible.
        self._most: int | None = getattr(extractor, "nb_max_samples", None)
        self.fewest = 1
        """Least number of samples that the model reads."""

    def decode(self, data: bytes, media_type: str, deadline: float | None = None) -> Sound:
        """Decodes a recording's file and resamples it.

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
        """Returns the model's inputs for samples at its rate. Models with an input of fixed length get the beginning.

        Raises:
            AudioRefused: there are too few samples.
        """
        self.check_length(samples)
        found = self._extractor(samples[: self._most], sampling_rate=self.rate, return_tensors="pt")
        tensors = {name: value[0] for name, value in found.items() if isinstance(value, Tensor)}
        return AudioInputs(tensors, self._kind(tensors), self._length(tensors))

    def check_length(self, samples: Samples) -> None:
        """Raises AudioRefused if there are too few samples for the model."""
        if len(samples) < self.fewest:
            least = self.fewest / self.rate
            raise AudioRefused(f"is {len(samples) / self.rate:.3g} s long, and the model reads at least {least:.3g} s")

    def frames(self, samples: int) -> int:
        """Returns the cost of samples in frames, for a model with inputs of variable length."""
        return max(math.ceil(samples * FRAMES_PER_SECOND / self.rate), 1)

    def _kind(self, tensors: Mapping[str, Tensor]) -> Hashable:
        first = 1 if self.pads else 0
        return tuple((name, value.shape[first:], value.dtype) for name, value in sorted(tensors.items()))

    def _length(self, tensors: Mapping[str, Tensor]) -> int:
        """Returns the cost in frames: features come every 10 ms in all models, and some models read raw samples."""
        largest = max(tensors.values(), key=Tensor.numel)
        longest = max(largest.shape)
        rate = self.rate if largest.numel() == longest else _FEATURES_PER_SECOND
        return math.ceil(longest * FRAMES_PER_SECOND / rate)
