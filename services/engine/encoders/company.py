"""Which texts may go through a model together, found by trying it."""

from enum import Enum
from typing import Any

import torch
from torch import Tensor

from services.engine.acceleration.tolerance import tolerance
from services.engine.encoders.acceleration import ordinary_ids
from services.engine.encoders.loading import LoadedEncoder
from services.engine.kept_state import attends_by_length

_SHORTER = (5, 11, 16)
"""Lengths, in tokens, of texts that are tried beside a longer one."""


class Company(Enum):
    """Texts with which a text may share a batch and still get the same output as alone."""

    ANY = "any"
    """Texts of any length: the model ignores the padding of shorter ones."""
    EVEN = "even"
    """Texts of equal length only: padding changes the output of FNet, Nyströmformer, YOSO and CANINE, and BigBird's
    blocks depend on the padded length."""
    NONE = "none"


@torch.inference_mode()
def company_of(loaded: LoadedEncoder) -> Company:
    """Returns the widest company in which the model's outputs equal those of a text alone."""
    long, other = ordinary_ids(loaded).to(loaded.device)
    for company, beside in ((Company.ANY, long), (Company.EVEN, None)):
        if company is Company.ANY and attends_by_length(loaded.model):
            continue  # texts as short as these would not show it
        if all(_same(loaded, torch.cat([other[: length - 1], other[-1:]]), beside) for length in _SHORTER):
            return company
    return Company.NONE


def _same(loaded: LoadedEncoder, text: Tensor, longer: Tensor | None) -> bool:
    """Returns whether a text has the same output beside `longer` (None: a text of its own length) as alone."""
    neighbour = text.roll(1) if longer is None else longer
    both = torch.full((2, len(neighbour)), loaded.pad_id, device=loaded.device)
    both[0], both[1, : len(text)] = neighbour, text
    mask = torch.ones_like(both)
    mask[1, len(text) :] = 0
    alone, beside = _first(loaded, text[None], mask[1:, : len(text)])[0], _first(loaded, both, mask)[1]
    if len(alone) == len(text) and len(beside) == len(neighbour):
        beside = beside[: len(text)]
    if beside.shape != alone.shape:
        return False
    return bool((beside - alone).abs().max() <= tolerance(loaded.model.dtype) * alone.abs().max().clamp_min(1e-6))


def _first(loaded: LoadedEncoder, ids: Tensor, mask: Tensor) -> Tensor:
    output: Any = loaded.model(input_ids=ids, attention_mask=mask)
    return output[0].float()
