"""Faster modules for models of texts."""

from functools import partial

import torch
from torch import Tensor

from services.engine import acceleration
from services.engine.checkpoint import ModelRefused
from services.engine.encoders.loading import LoadedEncoder

_CHECKED_TOKENS = 24


@torch.inference_mode()
def accelerate(loaded: LoadedEncoder) -> None:
    """Puts faster modules into the model where they compute the same on an ordinary text.

    Raises:
        ModelRefused: the model fails on one by itself.
    """
    ids = torch.randint(loaded.vocabulary_size, (2, _CHECKED_TOKENS), generator=torch.Generator().manual_seed(0)).to(
        loaded.device
    )
    acceleration.accelerate(loaded, partial(_first_output, loaded, ids))


def _first_output(loaded: LoadedEncoder, ids: Tensor) -> list[Tensor]:
    try:
        output = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (TypeError, ValueError, IndexError) as error:
        raise ModelRefused(f"{loaded.architecture} cannot be run on texts alone: {error}") from error
    return [output[0].float()]
