"""Runs a model for the first time at load, to find out whether it can be served."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.acceleration.replacement import OnDevice, accelerate
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused

_ALIKE = 1e-2
"""Relative and absolute difference allowed between the results of two equal items of a batch, in every dtype."""


def try_out(loaded: OnDevice, run: Callable[[], Sequence[Tensor]], thing: str) -> None:
    """Runs a model on a batch of two equal items, and then replaces its modules by faster ones that compute the same.

    `run` runs the model on that batch and returns its outputs, `[2, ...]` each. `thing` names the item in messages.

    Raises:
        ModelRefused: the model fails, or its results for the two items differ.
    """
    name = type(loaded.model).__name__
    try:
        outputs = run()
        for value in outputs:
            if not torch.allclose(value[0], value[1], rtol=_ALIKE, atol=_ALIKE, equal_nan=True):
                raise ModelRefused(f"{name} answers the same {thing} once this way and once another.")
        accelerate(loaded, run, outputs)
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{name} cannot be run on what its processor makes of one {thing}: {error}") from error
