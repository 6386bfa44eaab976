"""Faster modules in the place of a model's own, where they compute the same."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.fusion.encoder import fuse_encoder_layers
from services.engine.generation.parts import OnDevice, accelerated
from services.engine.native.library import load_library

log = logging.getLogger(__name__)

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
    library = load_library() if loaded.device.type == "cpu" else None
    if library is None:
        return
    fused = fuse_encoder_layers(loaded.model, library, run)
    try:
        check()
    except RuntimeError as error:
        log.info("the model's own layers are used: %s", error)
        for layer in fused:
            del layer.forward
    else:
        log.info("%d layers are computed in one call each", len(fused))
