"""Computes the number of encoder states of a window before it is encoded."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_MASKS = ("attention_mask", "padding_mask")


class StateCount:
    """Counts the states that the model's decoder attends to."""

    def __init__(self, model: Any) -> None:
        self._by_mask: Any = getattr(model, "_compute_sub_sample_lengths_from_attention_mask", None)
        self._by_lengths: Any = getattr(model.get_encoder(), "_get_subsampling_output_length", None)
        # In SpeechT5 the method belongs to the encoder's prenet.
        counting = getattr(model.get_encoder(), "prenet", model)
        self._by_length: Any = getattr(counting, "_get_feat_extract_output_lengths", None)

    def of(self, inputs: Mapping[str, Tensor]) -> int:
        """Returns the number of states for features or samples of one window, `[1, ...]`."""
        mask = next((inputs[name] for name in _MASKS if name in inputs), None)
        if mask is None:
            mask = torch.ones(next(iter(inputs.values())).shape[:2])
        if self._by_mask is not None:
            return int(self._by_mask(mask)[0])
        length = mask.sum(-1).long()
        return int(self._by_lengths(length) if self._by_lengths is not None else self._by_length(int(length)))
