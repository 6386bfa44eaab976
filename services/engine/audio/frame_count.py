"""How many of a model's frames are a recording's own, where others lie beside it, and how long they are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from services.engine.audio.habits import noise
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.checkpoint import ModelRefused

_COUNTERS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
"""What models call how many frames they make of so many inputs."""
_MASKS = ("attention_mask", "padding_mask")
_MEASURED_SECONDS = (4, 8)
"""Their difference is a whole number of frames of any usual length."""


class FrameCount:
    """Counts the frames of one model."""

    def __init__(self, model: Any) -> None:
        names = [name for name in _COUNTERS if hasattr(model, name)]
        self._count: Callable[[Tensor], Tensor] | None = getattr(model, names[0]) if names else None

    @property
    def known(self) -> bool:
        """Whether own frames can be told from those of padding."""
        return self._count is not None

    def of(self, batch: dict[str, Tensor], frames: int) -> Tensor:
        """Returns the number of each item's own frames, `[items]`; all `frames` where there is no padding."""
        mask = next((value for name, value in batch.items() if name in _MASKS), None)
        if mask is None or self._count is None:
            return torch.full((len(next(iter(batch.values()))),), frames)
        return self._count(mask.sum(-1)).to(torch.long)


def frame_length(reader: AudioReader, runner: AudioRunner, count: str) -> int:
    """Returns how many samples a frame stands for, by what the model's output calls the `count` of its frames.

    Raises:
        ModelRefused: it is no whole number.
    """
    short, long = (
        int(runner.compute([reader.process(noise(seconds, reader.rate)).tensors])[count][0])
        for seconds in _MEASURED_SECONDS
    )
    samples = (_MEASURED_SECONDS[1] - _MEASURED_SECONDS[0]) * reader.rate
    if long <= short or samples % (long - short):
        raise ModelRefused(f"It makes {long - short} frames of {samples} samples: no whole number.")
    return samples // (long - short)
