"""What a model's forward takes of media, for several of them together and for a whole prompt."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from services.engine.generation.running.media import Medium, PromptMedia

OF_TOKENS = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}
"""Inputs that tell something of each token."""


def on_device(inputs: Mapping[str, Tensor], model: PreTrainedModel) -> dict[str, Tensor]:
    """Returns inputs where the model is, and numbers in its type."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def alike(medium: Medium) -> object:
    """Returns what media have in common that may be encoded together: the shapes of their inputs, but for how many."""
    return tuple((name, () if name in OF_TOKENS else value.shape[1:]) for name, value in medium.inputs.items())


def batched_inputs(media: Sequence[Medium], padding_id: int) -> dict[str, Tensor]:
    """Returns the inputs of media that are alike: what tells of tokens padded at the end, all else concatenated."""
    inputs = [medium.inputs for medium in media]
    longest = max(one["input_ids"].shape[1] for one in inputs)
    batch: dict[str, Tensor] = {}
    for name in inputs[0]:
        values = [one[name] for one in inputs]
        if name in OF_TOKENS:
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
        if name not in OF_TOKENS:
            whole[name] = concatenated([one[name] for one in every if name in one])
        elif name not in whole:
            whole[name] = _told_of_tokens(name, ids, media, torch.tensor(list(media_ids)))
    return whole


def concatenated(values: Sequence[Tensor]) -> Tensor:
    """Returns values one behind another, smaller ones filled up with zeros as processors do within a prompt."""
    shape = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    fillers = [[(0, most - size) for most, size in zip(shape, value.shape, strict=True)] for value in values]
    # From the last dimension backwards, and never in the first.
    padding = [[edge for pair in reversed(filler[1:]) for edge in pair] for filler in fillers]
    return torch.cat([pad(value, edges) for value, edges in zip(values, padding, strict=True)])


def _told_of_tokens(name: str, ids: Tensor, media: PromptMedia, media_ids: Tensor) -> Tensor:
    """Returns an input that tells of each token what it tells of media's own, and 0 of all others."""
    told = torch.zeros_like(ids)
    for medium, places in zip(media.media, media.places, strict=True):
        own = torch.isin(medium.inputs["input_ids"][0], media_ids)
        told[0, torch.from_numpy(places)] = medium.inputs[name][0, own]
    return told
