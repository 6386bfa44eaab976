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
        adapter: Any = getattr(model.get_encoder(), "adapter", None)
        self._joining = [layer.residual_conv for layer in adapter.layers] if adapter is not None else []
        """Convolutions of SeamlessM4T's adapter. Its count by mask knows of one, with another padding."""
        self._by_lengths: Any = getattr(model.get_encoder(), "_get_subsampling_output_length", None)
        # In SpeechT5 the method belongs to the encoder's prenet.
        counting = getattr(model.get_encoder(), "prenet", model)
        self._by_length: Any = getattr(counting, "_get_feat_extract_output_lengths", None)

    def _joined(self, states: int) -> int:
        """Returns how many states the adapter makes of `states`, those of padding included."""
        for each in self._joining:
            states = (states + 2 * each.padding[0] - each.kernel_size[0]) // each.stride[0] + 1
        return states

    def of(self, inputs: Mapping[str, Tensor]) -> int:
        """Returns the number of states for features or samples of one window, `[1, ...]`."""
        mask = next((inputs[name] for name in _MASKS if name in inputs), None)
        if mask is None:
            mask = torch.ones(next(iter(inputs.values())).shape[:2])
        if self._by_mask is not None:
            return min(int(self._by_mask(mask)[0]), self._joined(mask.shape[1]))
        length = mask.sum(-1).long()
        return int(self._by_lengths(length) if self._by_lengths is not None else self._by_length(int(length)))
