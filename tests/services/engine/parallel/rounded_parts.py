"""transformers' own model with the 8-bit weights of two ranks."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from services.engine.narrow.numbers import NarrowKind, narrowed, widened

_SUMMED = ("o_proj.weight", "down_proj.weight", "experts.down_proj")
"""Of these each rank has some columns."""
_WIDE = ("embed_tokens", "lm_head", "mlp.gate.weight")


@torch.no_grad()
def by_hand(folder: Path, kind: NarrowKind) -> tuple[Any, dict[str, Tensor]]:
    """Returns the model with rounded weights, in two parts where ranks share the columns; and the first rank's."""
    model, firsts = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), dict[str, Tensor]()
    for name, weight in model.named_parameters():
        if weight.dim() < 2 or any(wide in name for wide in _WIDE):
            continue
        parts = weight.chunk(2, dim=-1) if name.endswith(_SUMMED) else [weight]
        numbers = [narrowed(part, kind) for part in parts]
        weight.copy_(torch.cat([widened(*each, torch.empty(each[0].shape)) for each in numbers], dim=-1))
        first, rows = numbers[0][0], weight.shape[-2] // 2
        if name.endswith("gate_up_proj"):  # half of the gate and half of the up projection
            first = torch.cat([half[:, : rows // 2] for half in first.split(rows, dim=1)], dim=1)
        elif not name.endswith(_SUMMED):
            first = first[:rows]
        firsts[name] = first
    return model, firsts


def generated(model: Any, prompt: list[int], count: int) -> list[int]:
    """Returns the greedy tokens behind a prompt."""
    output = model.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False)
    return output[0, len(prompt) :].tolist()
