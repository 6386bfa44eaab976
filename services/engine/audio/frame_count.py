"""Counts a model's output frames without padding, and measures how many samples one frame stands for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from services.engine.audio.habits import noise
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.checkpoint import ModelRefused

_COUNTERS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
"""Names of model methods that map input lengths to numbers of frames."""
_MASKS = ("attention_mask", "padding_mask")
_SHORT_SECONDS = 4
_LONGER_SECONDS = (8, 10)
"""The frame length is measured by the difference to a short recording. The first is a whole number of frames of most
models, the second one of those with an adapter that joins 3 or 6 frames of 20 ms."""


class FrameCount:
    """Counts the frames of one model."""

    def __init__(self, model: Any) -> None:
        names = [name for name in _COUNTERS if hasattr(model, name)]
        self._count: Callable[[Tensor], Tensor] | None = getattr(model, names[0]) if names else None

    @property
    def known(self) -> bool:
        """Whether frames of audio can be told from frames of padding."""
        return self._count is not None

    def of(self, batch: dict[str, Tensor], frames: int) -> Tensor:
        """Returns the number of each item's frames without padding, `[items]`; `frames` if nothing is padded."""
        mask = next((value for name, value in batch.items() if name in _MASKS), None)
        if mask is None or self._count is None:
            return torch.full((len(next(iter(batch.values()))),), frames)
        return self._count(mask.sum(-1)).to(torch.long)


def frame_length(reader: AudioReader, runner: AudioRunner, count: str) -> int:
    """Returns samples per frame. `count` names the model's output that holds the number of frames.

    Raises:
        ModelRefused: it is not a whole number.
    """

    def counted(seconds: int) -> int:
        return int(runner.compute([reader.process(noise(seconds, reader.rate)).tensors])[count][0])

    short = counted(_SHORT_SECONDS)
    for seconds in _LONGER_SECONDS:
        more, samples = counted(seconds) - short, (seconds - _SHORT_SECONDS) * reader.rate
        if more > 0 and samples % more == 0:
            return samples // more
    raise ModelRefused(
        f"Its frames are not a whole number of samples, as far as {_LONGER_SECONDS[-1]} s of noise tell."
    )
