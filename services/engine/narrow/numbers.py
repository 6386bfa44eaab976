"""Rounds weights to 8-bit numbers with a scale for each output, and converts them back."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

NarrowKind = Literal["int8", "fp8_e4m3"]
Narrowed = tuple[Tensor, Tensor]
"""8-bit numbers `[.., out, in]` and the scale of each row, float32 `[.., out]`."""
NARROW_KINDS: Mapping[str, NarrowKind] = {kind: kind for kind in get_args(NarrowKind)}
"""The kinds by name."""

_TYPES: Mapping[str, torch.dtype] = {"int8": torch.int8, "fp8_e4m3": torch.float8_e4m3fn}
_LARGEST: Mapping[str, float] = {"int8": 127.0, "fp8_e4m3": 448.0}


def narrowed(weight: Tensor, kind: NarrowKind) -> Narrowed:
    """Rounds a weight `[.., out, in]` to the nearest 8-bit numbers of that kind."""
    wide = weight.detach().float()
    largest = wide.abs().amax(dim=-1)
    scales = torch.where(largest > 0, largest / _LARGEST[kind], 1.0)
    scaled = wide / scales.unsqueeze(-1)
    return (scaled.round_() if kind == "int8" else scaled).to(_TYPES[kind]), scales


def narrowed_by_one(weights: Iterable[Tensor], kind: NarrowKind, device: torch.device) -> Narrowed:
    """Rounds several weights and stacks the results. They are moved to `device` one at a time."""
    pairs = [narrowed(weight.to(device), kind) for weight in weights]
    return torch.stack([numbers for numbers, _ in pairs]), torch.stack([scales for _, scales in pairs])


def widened(numbers: Tensor, scales: Tensor, output: Tensor) -> Tensor:
    """Writes numbers times scales to `output` `[.., out, in]`, rounded once to its dtype, and returns it."""
    column = scales.unsqueeze(-1)
    if numbers.dtype is torch.int8:
        return torch.mul(numbers, column, out=output)
    return output.copy_(numbers).mul_(column)  # torch cannot multiply 8-bit floats
