"""How many states an encoder makes of a window, which is known before it has made them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_MASKS = ("attention_mask", "padding_mask")


class StateCount:
    """Counts what one model's decoder attends to."""

    def __init__(self, model: Any) -> None:
        self._by_length: Any = model._get_feat_extract_output_lengths

    def of(self, inputs: Mapping[str, Tensor]) -> int:
        """Returns how many states come of the features or samples of one window, `[1, ...]`."""
        mask = next((inputs[name] for name in _MASKS if name in inputs), None)
        length = next(iter(inputs.values())).shape[1] if mask is None else int(mask.sum())
        return int(self._by_length(length))
