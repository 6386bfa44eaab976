"""A first run of a model, before anybody asks it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.acceleration import OnDevice, accelerate
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused

_ALIKE = 1e-2
"""How much the answers for equal items of one batch may differ, in bfloat16 too."""


def try_out(loaded: OnDevice, run: Callable[[], Sequence[Tensor]], thing: str) -> None:
    """Runs a model twice on one thing, and puts faster modules into it where it then computes the same.

    `run` returns what the model makes of two equal items side by side, `[2, ...]` each; `thing` says what they are.

    Raises:
        ModelRefused: the model fails on them, or does not answer them the same way twice.
    """
    name = type(loaded.model).__name__
    try:
        for value in run():
            if not torch.allclose(value[0], value[1], rtol=_ALIKE, atol=_ALIKE, equal_nan=True):
                raise ModelRefused(f"{name} answers the same {thing} once this way and once another.")
        accelerate(loaded, run)
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{name} cannot be run on what its processor makes of one {thing}: {error}") from error
