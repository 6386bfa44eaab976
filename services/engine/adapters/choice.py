"""Resolves an operator's choice of model and adapter: where the weights are, and which adapter is merged into them."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from services.engine.adapters.adapter import Adapter, AdapterPlace, place_of, read_adapter
from services.engine.adapters.configuration import CONFIG
from services.engine.checkpoint import ModelRefused, Trust, refusals
from services.engine.hub import is_hub_id, require_hub

log = logging.getLogger(__name__)

_WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""A checkpoint with weights of its own has one of these files."""


@dataclass(frozen=True)
class Choice:
    """Where the weights are, and which adapter is merged into them."""

    source: str
    revision: str | None
    adapter: Adapter | None = None


def choose(model: str, revision: str | None, adapter: str | None, trust: Trust) -> Choice:
    """Returns what to load. `model` may itself be an adapter, whose configuration then names the model.

    Raises:
        ModelRefused: one cannot be found, or the adapter is of a kind that cannot be merged.
    """
    require_hub(model)
    if revision is not None and os.path.isdir(model):  # noqa: PTH112 - a hub id is no path
        log.warning("--revision %s has no effect: %s is a folder, which has one state alone", revision, model)
    own = AdapterPlace(model, revision=revision)
    if not _is_adapter(own):
        if not adapter and own.find(CONFIG):
            log.warning("%s holds an adapter beside a model, which is not merged; --adapter %s does.", model, model)
        chosen = read_chosen(adapter, place_of(adapter), trust) if adapter else None
        if chosen is not None:
            tell_of_another_model(chosen, model)
        return Choice(model, revision, chosen)
    if adapter:
        raise ModelRefused(f"{model} is itself an adapter, into which {adapter} cannot be merged. Give its model.")
    read = read_chosen(model, own, trust)
    if not os.path.isdir(read.base) and not is_hub_id(read.base):  # noqa: PTH112 - a hub id is no path
        raise ModelRefused(
            f"{model} is an adapter, and {read.base or 'nothing'}, which it names as its model, is not here. Give the "
            f"model by --model, and --adapter {model}."
        )
    log.info("%s is an adapter; its model is %s", model, read.base)
    require_hub(read.base)
    base = AdapterPlace(read.base, revision=read.config.get("revision"))
    if _is_adapter(base):
        raise ModelRefused(
            f"{model} is an adapter, and so is {read.base}, which it names as its model. One is merged: give the model "
            f"by --model, and --adapter {model}, if it was not trained on what the other makes of it."
        )
    return Choice(base.source, base.revision, read)


def tell_of_another_model(adapter: Adapter, model: str) -> None:
    """Warns if an adapter names another base model than it is used with, since names and shapes may fit anyway.

    Compares the last parts of paths and ids only, as a model may lie elsewhere than where it was trained.
    """
    if adapter.base and Path(adapter.base).name != Path(model).name:
        log.warning(
            "%s was made for %s, as it says, and is used with %s: its answers are wrong if that is another model.",
            adapter.label,
            adapter.base,
            model,
        )


def _is_adapter(place: AdapterPlace) -> bool:
    """Returns whether there is an adapter and no model."""
    with refusals(place.source):
        return place.find(CONFIG) is not None and not any(place.find(name) for name in _WHOLE)


def read_chosen(label: str, place: AdapterPlace, trust: Trust) -> Adapter:
    """Reads an adapter's configuration, not its weights. `label` names it in messages.

    Raises:
        ModelRefused: it cannot be found, or is of another kind than LoRA.
    """
    require_hub(place.source)
    with refusals(place.source, "The adapter "):
        return read_adapter(label, place, pickled=trust.pickled_weights)
