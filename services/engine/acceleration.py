"""Faster modules in the place of a model's own, where they compute the same."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.generation.parts import OnDevice, accelerated

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Greatest difference allowed, as a share of the greatest value."""


def accelerate(loaded: OnDevice, run: Callable[[], Sequence[Tensor]]) -> None:
    """Puts faster modules into the model and compares what `run` returns then with what it returned before."""
    expected = run()

    def check() -> None:
        for own, found in zip(expected, run(), strict=True):
            difference = (found - own).abs().max() / own.abs().max().clamp_min(1e-6)
            if not difference <= _TOLERANCE.get(loaded.model.dtype, 1e-2):
                raise RuntimeError(f"they differ by {difference:.2g}")

    accelerated(loaded, check)
