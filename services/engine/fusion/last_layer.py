"""The last layer of a model computes one token of each text alone, where nothing behind it reads the others.

They are needed for their keys and values, but neither ask, nor go through what follows attention.
"""

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from services.engine.checkpoint import ModelRefused
from services.engine.fusion.encoder import Chosen, FusedEncoderLayer

log = logging.getLogger(__name__)

Check = Callable[[], object]
"""Runs the model. Raises RuntimeError if what is read of its output is not what it was, or no number."""


def first_token(lengths: Tensor) -> Tensor:
    """Where a class token is; a Chosen."""
    return torch.zeros_like(lengths)


def last_token(lengths: Tensor) -> Tensor:
    """Where a decoder has seen all of a text; a Chosen."""
    return lengths - 1


def last_layers(model: nn.Module) -> list[FusedEncoderLayer]:
    """Returns the last of each row of fused layers: a model that compares images with texts has two."""
    rows: dict[str, FusedEncoderLayer] = {}
    for name, module in model.named_modules():
        if isinstance(module.forward, FusedEncoderLayer):
            rows[name.rpartition(".")[0]] = module.forward
    return list(rows.values())


def spares_unread(layer: FusedEncoderLayer, chosen: Chosen, check: Check) -> bool:
    """Lets a layer compute the chosen tokens alone. Where `check` notices, it computes all, and this returns False.

    Meanwhile what is not computed is no number, which whatever reads it passes on.
    """
    layer.chosen, layer.filler = chosen, math.nan
    try:
        check()
    except (ModelRefused, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        log.debug("more is read than the tokens chosen: %s", error)
        layer.chosen = None
    finally:
        layer.filler = 0.0
    return layer.chosen is not None


def spare_unread(model: nn.Module, check: Check) -> None:
    """Lets last layers compute a text's first or last token alone, where `check` does not notice."""
    for layer in last_layers(model):
        if any(spares_unread(layer, chosen, check) for chosen in (first_token, last_token)):
            log.info("the last layer computes what is read behind it alone")
