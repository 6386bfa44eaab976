"""Tries a model out before it serves, and makes it faster where it then computes the same."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.acceleration import accelerate
from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel

_ALIKE = 1e-2
"""How much the answers for equal items of one batch may differ, in bfloat16 too."""


def try_out(loaded: LoadedVisionModel, run: Callable[[], Sequence[Tensor]]) -> None:
    """Puts faster modules into a model; `run` returns what it makes of two equal items side by side, `[2, ...]` each.

    Raises:
        ModelRefused: the model fails on them, or does not answer them the same way twice.
    """
    name = loaded.architecture
    try:
        for value in run():
            if not torch.allclose(value[0], value[1], rtol=_ALIKE, atol=_ALIKE, equal_nan=True):
                raise ModelRefused(f"{name} answers the same image once this way and once another.")
        accelerate(loaded, run)
    except (TypeError, ValueError, IndexError) as error:
        raise ModelRefused(f"{name} cannot be run on what its processor makes of an image: {error}") from error
