"""How far the results of faster modules may differ from the model's own."""

from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.checkpoint import ModelRefused

_SHARES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def tolerance(dtype: torch.dtype) -> float:
    """Returns the greatest difference allowed in this dtype, relative to the greatest value."""
    return _SHARES.get(dtype, 1e-2)


def must_be_numbers(model: PreTrainedModel, results: Iterable[Tensor]) -> None:
    """Raises ModelRefused if a model's own results contain NaN, since nothing could be compared with them."""
    if any(bool(result.isnan().any()) for result in results):
        raise ModelRefused(
            f"{type(model).__name__} gives no number (NaN) as a result, in {model.dtype}: its weights are damaged, or "
            "do not fit that type."
        )
