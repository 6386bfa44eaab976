"""What a model's forward takes of media, for several of them together and for a whole prompt."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from services.engine.generation.media import Medium, PromptMedia

_OF_TOKENS = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}
"""Inputs that tell something of each token."""


def alike(medium: Medium) -> object:
    """Returns what media have in common that may be encoded together: the shapes of their inputs, but for how many."""
    return tuple((name, () if name in _OF_TOKENS else value.shape[1:]) for name, value in medium.inputs.items())


def batched_inputs(media: Sequence[Medium], padding_id: int) -> dict[str, Tensor]:
    """Returns the inputs of media that are alike: what tells of tokens padded at the end, all else concatenated."""
    inputs = [medium.inputs for medium in media]
    longest = max(one["input_ids"].shape[1] for one in inputs)
    batch: dict[str, Tensor] = {}
    for name in inputs[0]:
        values = [one[name] for one in inputs]
        if name in _OF_TOKENS:
            fill = padding_id if name == "input_ids" else 0
            values = [pad(value, (0, longest - value.shape[1]), value=fill) for value in values]
        batch[name] = torch.cat(values)
    return batch


def whole_inputs(token_ids: Sequence[int], media: PromptMedia, media_ids: Sequence[int]) -> dict[str, Tensor]:
    """Returns the inputs of a whole prompt, of those media's that were not let go of; `media_ids` are their tokens."""
    ids = torch.tensor([list(token_ids)])
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    every = [medium.inputs for medium in media.media]
    for name in dict.fromkeys(name for one in every for name in one):
        if name not in _OF_TOKENS:
            whole[name] = torch.cat([one[name] for one in every if name in one])
        elif name not in whole:
            whole[name] = _told_of_tokens(name, ids, media, torch.tensor(list(media_ids)))
    return whole


def _told_of_tokens(name: str, ids: Tensor, media: PromptMedia, media_ids: Tensor) -> Tensor:
    """Returns an input that tells of each token what it tells of media's own, and 0 of all others."""
    told = torch.zeros_like(ids)
    for medium, places in zip(media.media, media.places, strict=True):
        own = torch.isin(medium.inputs["input_ids"][0], media_ids)
        told[0, torch.from_numpy(places)] = medium.inputs[name][0, own]
    return told
