"""Replaces modules of text encoders by faster ones."""

from functools import partial

import torch
from torch import Tensor

from services.engine.acceleration import replacement
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.encoders.loading import LoadedEncoder

_CHECKED_TOKENS = 24


@torch.inference_mode()
def accelerate(loaded: LoadedEncoder) -> None:
    """Replaces modules by faster ones where both compute the same for ordinary texts.

    Raises:
        ModelRefused: The model fails on a plain text, or gives different outputs for the same one.
    """
    ids = ordinary_ids(loaded).to(loaded.device)
    try:
        replacement.accelerate(loaded, partial(_first_output, loaded, ids))
    except RuntimeError as error:
        raise ModelRefused(f"{loaded.architecture} answers a text once this way and once another: {error}") from error


def ordinary_ids(loaded: LoadedEncoder) -> Tensor:
    """Returns two random texts, `[2, _CHECKED_TOKENS]`, with special tokens only where models look for them.

    These are the end token, and for question answering the separators after the question: Longformer counts them.
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
    """Returns the outputs for two texts of equal length, and for two of which one is padded, without the padding.

    The forward over equal lengths runs last: layers are compared by the whole output of their last call.
    """
    shorter = torch.ones_like(ids)
    shorter[1, _CHECKED_TOKENS // 2 :] = 0
    try:
        uneven, even = (loaded.model(input_ids=ids, attention_mask=mask)[0] for mask in (shorter, torch.ones_like(ids)))
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{loaded.architecture} cannot read texts by themselves: {error}") from error
    whole = uneven[shorter.bool()] if uneven.shape[:2] == ids.shape else uneven
    return [even.float(), whole.float()]
