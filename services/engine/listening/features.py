"""Whisper's mel features of a recording of any length."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.engine.media.recording import Samples
from services.engine.threads.turns import give_way

_BLOCK_SECONDS = 60
_FLOOR, _SHIFT, _SCALE = 8.0, 4.0, 4.0
"""The extractor clamps values to `_FLOOR` decades below the maximum, then scales: (log10 + shift) / scale."""


def window_features(extractor: Any, samples: Samples) -> Tensor:
    """Returns features `[bins, frames]` of at most one window, padded with silence by the extractor."""
    found = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    return found["input_features"][0]


def long_features(extractor: Any, samples: Samples) -> Tensor:
    """Returns features `[bins, frames]` of a whole recording, computed in blocks, equal to the extractor's.

    Each block is computed with neighbouring samples, as far as an STFT window reaches. The extractor clamps to a floor
    below the maximum, which is known only at the end: blocks, clamped by their own maximum, are then clamped again.
    """
    hop = extractor.hop_length
    beside = -(-extractor.n_fft // hop)
    step = _BLOCK_SECONDS * extractor.sampling_rate // hop
    total = len(samples) // hop
    blocks: list[Tensor] = []
    for first in range(0, total, step):
        give_way()
        start, stop = max(first - beside, 0), min(first + step + beside, total)
        end = len(samples) if stop == total else stop * hop
        block = _plain(extractor, samples[start * hop : end])
        blocks.append(block[:, first - start : min(first + step, total) - start])
    found = torch.cat(blocks, 1)
    loudest = float(found.max()) * _SCALE - _SHIFT
    return found.clamp_min_((loudest - _FLOOR + _SHIFT) / _SCALE)


def windowed(features: Tensor, first: int, frames: int) -> Tensor:
    """Returns features `[bins, frames]` from the frame `first` on, padded with zeros."""
    window = features[:, first : first + frames]
    return torch.nn.functional.pad(window, (0, frames - window.shape[1]))


def _plain(extractor: Any, samples: Samples) -> Tensor:
    found = extractor(
        np.ascontiguousarray(samples), sampling_rate=extractor.sampling_rate, return_tensors="pt",
        truncation=False, padding="longest",
    )  # fmt: skip
    return found["input_features"][0]
