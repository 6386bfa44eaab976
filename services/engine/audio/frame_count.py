"""How many of a model's frames are a recording's own, where others lie beside it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_COUNTERS = ("_get_feat_extract_output_lengths", "_get_subsampling_output_length")
"""What models call how many frames they make of so many inputs."""
_MASKS = ("attention_mask", "padding_mask")


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
