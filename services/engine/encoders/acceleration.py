"""Faster modules for models of texts."""

from functools import partial

import torch
from torch import Tensor

from services.engine.acceleration import replacement
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.encoders.loading import LoadedEncoder

_CHECKED_TOKENS = 24


@torch.inference_mode()
def accelerate(loaded: LoadedEncoder) -> None:
    """Puts faster modules into the model where they compute the same on an ordinary text.

    Raises:
        ModelRefused: the model fails on one by itself, or answers one in several ways.
    """
    ids = ordinary_ids(loaded).to(loaded.device)
    try:
        replacement.accelerate(loaded, partial(_first_output, loaded, ids))
    except RuntimeError as error:
        raise ModelRefused(f"{loaded.architecture} answers a text once this way and once another: {error}") from error


def ordinary_ids(loaded: LoadedEncoder) -> Tensor:
    """Returns tokens as texts have them: special ones only where some models look for theirs.

    That is at the end; and where a question ends, in a model that answers them: Longformer counts these.
    """
    special = set(loaded.tokenizer.all_special_ids)
    ordinary = torch.tensor([i for i in range(loaded.vocabulary_size) if i not in special] or [0])
    drawn = torch.randint(len(ordinary), (2, _CHECKED_TOKENS), generator=torch.Generator().manual_seed(0))
    ids = ordinary[drawn]
    if isinstance(end := getattr(loaded.model.config, "eos_token_id", None), int):
        ids[:, -1] = end
    sep = getattr(loaded.model.config, "sep_token_id", None)
    if loaded.architecture.endswith("QuestionAnswering") and isinstance(sep, int):
        ids[:, 1:3] = sep
    return ids


def _first_output(loaded: LoadedEncoder, ids: Tensor) -> list[Tensor]:
    """Returns what the model makes of two texts, and of two of which one is shorter; only what stands for a token.

    The even ones come last: layers are compared by their last call, all of it.
    """
    shorter = torch.ones_like(ids)
    shorter[1, _CHECKED_TOKENS // 2 :] = 0
    try:
        uneven, even = (loaded.model(input_ids=ids, attention_mask=mask)[0] for mask in (shorter, torch.ones_like(ids)))
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{loaded.architecture} cannot read texts by themselves: {error}") from error
    whole = uneven[shorter.bool()] if uneven.shape[:2] == ids.shape else uneven
    return [even.float(), whole.float()]
