"""Faster modules in the place of a model's own, where they compute the same."""

import logging

import torch
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.encoders.loading import LoadedEncoder
from services.engine.generation.parts import accelerated

log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Greatest difference allowed, as a share of the greatest value."""
_CHECKED_TOKENS = 24


@torch.inference_mode()
def accelerate(loaded: LoadedEncoder) -> None:
    """Puts faster modules into the model and compares what it computes then with what it computed before.

    Raises:
        ModelRefused: the model fails on an ordinary text by itself.
    """
    ids = _ordinary_ids(loaded).to(loaded.device)
    expected = _first_output(loaded, ids)

    def check() -> None:
        found = _first_output(loaded, ids)
        difference = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
        if not difference <= _TOLERANCE.get(loaded.model.dtype, 1e-2):
            raise RuntimeError(f"they differ by {difference:.2g}")

    accelerated(loaded, check)


def _ordinary_ids(loaded: LoadedEncoder) -> Tensor:
    """Returns tokens as texts have them: special ones only at the end, where some models look for theirs."""
    special = set(loaded.tokenizer.all_special_ids)
    ordinary = torch.tensor([i for i in range(loaded.vocabulary_size) if i not in special] or [0])
    drawn = torch.randint(len(ordinary), (2, _CHECKED_TOKENS), generator=torch.Generator().manual_seed(0))
    ids = ordinary[drawn]
    if isinstance(end := getattr(loaded.model.config, "eos_token_id", None), int):
        ids[:, -1] = end
    return ids


def _first_output(loaded: LoadedEncoder, ids: Tensor) -> Tensor:
    try:
        output = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (TypeError, ValueError, IndexError) as error:
        raise ModelRefused(f"{loaded.architecture} cannot read texts by themselves: {error}") from error
    return output[0].float()
