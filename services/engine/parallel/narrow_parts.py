"""Replaces layers by 8-bit ones, from the part of each weight that this rank has rounded while it was read."""

import torch
from torch import nn
from transformers import PreTrainedModel

from services.engine.checkpoint import ModelRefused
from services.engine.experts import weight_names
from services.engine.narrow.experts import NarrowExperts
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.model import log_narrowed
from services.engine.parallel.narrow_reading import reader_of, rounded_count
from services.engine.parallel.partial_linear import Exchange
from services.engine.parallel.plain_layers import SummedExperts, without_plan
from services.engine.parallel.styles import local, style_of


@torch.no_grad()
def place_narrow(model: PreTrainedModel, device: torch.device, exchange: Exchange, *, leads: bool) -> None:
    """Replaces the layers whose weights were rounded while they were read; does nothing if none were to be rounded.

    Row-parallel layers get `exchange` for their sums; only the rank that `leads` keeps their bias.

    Raises:
        ModelRefused: the model has no layer that could be rounded.
    """
    reader = reader_of(model)
    if reader is None:
        return
    if not reader.read:
        raise ModelRefused(f"{type(model).__name__} has no divided layers for --quantization {reader.kind}.")
    share = rounded_count(model) / model.num_parameters()
    for place in {name.rpartition(".")[0]: None for name in reader.read}:
        module = model.get_submodule(place)
        if isinstance(module, nn.Linear):
            sums = style_of(model, place) == "rowwise"
            bias = module.bias
            keeps = bias is not None and (leads or not sums)
            module.register_parameter("bias", nn.Parameter(local(bias)) if keeps else None)
            made = NarrowLinear(module, reader.kind, device, reader.read.pop(f"{place}.weight"))
            made.exchange = exchange if sums else None
        else:
            first, last = (reader.read.pop(f"{place}.{name}") for name in weight_names(module))
            made = SummedExperts(NarrowExperts(without_plan(module), reader.kind, device, (first, last)), exchange)
        model.set_submodule(place, made)
    reader.remove_quantization_config(model)
    log_narrowed(model, reader.kind, share)
