"""The inputs of a model's forward for media: for several media together, and for a whole prompt."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from services.engine.generation.running.media import Medium, PromptMedia
from services.engine.multimodal.processor import MediaProcessor, of_tokens

_PATCHES = {"image_token_pooling": "pixel_values"}
"""Inputs that hold indices into the patches of another, over all images of a prompt; negative: none. Molmo 2's."""
_COUNT = "batch_num_images"
"""The input that holds a prompt's number of images: LLaVA-OneVision's."""


def on_device(inputs: Mapping[str, Tensor], model: PreTrainedModel) -> dict[str, Tensor]:
    """Returns inputs on the model's device, floating-point ones in its dtype."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def alike(medium: Medium) -> object:
    """Returns a key: media with equal keys may be encoded together, as their inputs have equal shapes."""
    return tuple((name, () if of_tokens(name) else value.shape[1:]) for name, value in medium.inputs.items())


def batched_inputs(media: Sequence[Medium], padding_id: int, axes: Mapping[str, int]) -> dict[str, Tensor]:
    """Returns the inputs of media for which `alike` is equal: those of tokens padded at the end, others concatenated.

    `axes` are those of inputs that are not concatenated along the first axis.
    """
    inputs = [medium.inputs for medium in media]
    longest = max(one["input_ids"].shape[1] for one in inputs)
    batch: dict[str, Tensor] = {}
    for name in inputs[0]:
        values = _values(name, inputs)
        if of_tokens(name):
            fill = padding_id if name == "input_ids" else 0
            values = [pad(value, (0, longest - value.shape[1]), value=fill) for value in values]
        batch[name] = torch.cat(values, 0 if of_tokens(name) else axes.get(name, 0))
    return batch


def whole_inputs(token_ids: Sequence[int], media: PromptMedia, processor: MediaProcessor) -> dict[str, Tensor]:
    """Returns the inputs of a whole prompt, without pixels and samples that were dropped."""
    ids = torch.tensor([list(token_ids)])
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    every = [medium.inputs for medium in media.media]
    for name in dict.fromkeys(name for one in every for name in one):
        if not of_tokens(name):
            whole[name] = concatenated(_values(name, every), processor.manner.axes.get(name, 0))
        elif name not in whole:
            whole[name] = _told_of_tokens(name, ids, media, processor)
    if _COUNT in whole:
        whole[_COUNT] = torch.tensor([media.image_count])
    return whole


def _values(name: str, inputs: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
    """Returns an input of each medium that has it, with indices and counts adapted to the whole prompt."""
    inputs = [one for one in inputs if name in one]
    values, numbered = [one[name] for one in inputs], _PATCHES.get(name)
    if numbered is None or any(numbered not in one for one in inputs):  # patches were dropped: indices are unused
        return values
    starts = accumulate((one[numbered].shape[:2].numel() for one in inputs[:-1]), initial=0)
    return [torch.where(value < 0, value, value + start) for value, start in zip(values, starts, strict=True)]


def concatenated(values: Sequence[Tensor], axis: int) -> Tensor:
    """Returns values concatenated, smaller ones padded with zeros as processors do within a prompt."""
    shape = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    fillers = [[(0, most - size) for most, size in zip(shape, value.shape, strict=True)] for value in values]
    for filler in fillers:
        filler[axis] = (0, 0)
    # From the last dimension backwards.
    padding = [[edge for pair in reversed(filler) for edge in pair] for filler in fillers]
    return torch.cat([pad(value, edges) for value, edges in zip(values, padding, strict=True)], axis)


def _told_of_tokens(name: str, ids: Tensor, media: PromptMedia, processor: MediaProcessor) -> Tensor:
    """Returns a per-token input `[1, tokens]`, as the processor makes it.

    If it does not depend on the tokens alone, media tokens take the values of their medium, and other tokens 0.
    """
    if (by_tokens := processor.told_of(name, ids)) is not None:
        return by_tokens
    told = torch.zeros_like(ids)
    media_ids = torch.tensor([processor.token_id(kind) for kind in processor.kinds])
    for medium, places in zip(media.media, media.places, strict=True):
        own = torch.isin(medium.inputs["input_ids"][0], media_ids)
        told[0, torch.from_numpy(places)] = medium.inputs[name][0, own]
    return told
