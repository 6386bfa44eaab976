"""Lets the last layer of a text encoder compute only one token of each text, if nothing behind it reads the others.

Of the other tokens the layer then computes only keys and values: no queries, no output projection, no feed-forward.
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
"""Runs the model. Raises RuntimeError if the part of its output that is read has changed or is not finite."""


def first_token(lengths: Tensor) -> Tensor:
    """A Chosen: the place of the class token."""
    return torch.zeros_like(lengths)


def last_token(lengths: Tensor) -> Tensor:
    """A Chosen: the last token of each text, the only one that saw all of it in a causal model."""
    return lengths - 1


def last_layers(model: nn.Module) -> list[FusedEncoderLayer]:
    """Returns the last layer of each stack of fused layers; a model that compares images with texts has two stacks."""
    rows: dict[str, FusedEncoderLayer] = {}
    for name, module in model.named_modules():
        if isinstance(module.forward, FusedEncoderLayer):
            rows[name.rpartition(".")[0]] = module.forward
    return list(rows.values())


def spares_unread(layer: FusedEncoderLayer, chosen: Chosen, check: Check) -> bool:
    """Lets a layer compute only the chosen tokens, and returns whether `check` passes so; if not, it computes all
    again.

    During the check all other tokens are NaN, which spreads to everything that reads them. A check whose texts have a
    single token each proves nothing, since nothing is left out.
    """
    leaves_out = False

    def noted(lengths: Tensor) -> Tensor:
        nonlocal leaves_out
        leaves_out = leaves_out or int(lengths.max()) > 1
        return chosen(lengths)

    layer.chosen, layer.filler = noted, math.nan
    try:
        check()
    except (ModelRefused, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        log.debug("the model also reads other tokens than the chosen ones: %s", error)
        leaves_out = False
    finally:
        layer.filler = 0.0
    layer.chosen = chosen if leaves_out else None
    return leaves_out


def spare_unread(model: nn.Module, check: Check) -> None:
    """Lets last layers compute only the first or the last token of each text, where `check` passes so."""
    for layer in last_layers(model):
        if any(spares_unread(layer, chosen, check) for chosen in (first_token, last_token)):
            log.info("the last layer computes only the token of each text that is read")
