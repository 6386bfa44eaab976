"""Loads the adapters that requests can name, beside a model."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from services.engine.adapters.adapter import Adapter, place_of
from services.engine.adapters.beside import AdaptersBeside, NamedAdapter
from services.engine.adapters.choice import read_chosen, tell_of_another_model
from services.engine.adapters.pairs import MERGE, pairs_of
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused, Trust, refusals
from services.engine.loading import LoadedModel

log = logging.getLogger(__name__)


def read_named(places: Mapping[str, str], trust: Trust) -> dict[str, Adapter]:
    """Reads the configurations of adapters, not their weights; `places` by adapter name.

    Raises:
        ModelRefused: one cannot be found, or is of another kind than LoRA.
    """
    return {name: read_chosen(place, place_of(place), trust) for name, place in places.items()}


def with_adapters(loaded: LoadedModel, adapters: Mapping[str, Adapter], trust: Trust) -> LoadedModel:
    """Returns the model with adapters beside it, or the model itself if there are none.

    Raises:
        ModelRefused: an adapter was made for another model, or changes something that can only be merged.
    """
    if not adapters:
        return loaded
    if loaded.decoder_start_ids:
        raise ModelRefused(
            f"--adapters is for decoders, and {loaded.architecture} is an encoder and a decoder. {MERGE}"
        )
    if loaded.quantization:
        raise ModelRefused(
            f"--adapters is for weights that were not rounded, and those of {loaded.architecture} are, by "
            f"{loaded.quantization}. Serve it without, or each adapter by itself, by --adapter."
        )
    beside = AdaptersBeside(loaded.model)
    for name, adapter in adapters.items():
        tell_of_another_model(adapter, str(loaded.model.name_or_path))
        try:
            pairs = pairs_of(adapter, loaded.model)
            tokenizer = _tokenizer(adapter, loaded.tokenizer, trust)
        except (*MODEL_ERRORS, SafetensorError) as error:
            told = f"The adapter {name} ({adapter.label}) cannot stay beside {loaded.architecture}"
            raise ModelRefused(f"{told}: {error}") from error
        beside.add(NamedAdapter(name, adapter.revision, tokenizer), pairs)
    size = beside.byte_count / 2**20
    log.info("beside the model are %d adapters, in %.1f MiB: %s", len(adapters), size, ", ".join(adapters))
    return replace(loaded, adapters=beside)


def _tokenizer(adapter: Adapter, own: PreTrainedTokenizerBase, trust: Trust) -> PreTrainedTokenizerBase | None:
    """Returns the adapter's own tokenizer, for instance with another chat template; None if it has none.

    Raises:
        ValueError: its vocabulary differs from the model's.
    """
    if not adapter.has_tokenizer:
        return None
    with refusals(adapter.place.source, "The tokenizer of the adapter "):
        brought: Any = AutoTokenizer.from_pretrained(
            adapter.place.source, **adapter.place.shared, trust_remote_code=trust.remote_code
        )
    if brought.get_vocab() != own.get_vocab():
        raise ValueError(f"it brings a tokenizer with other tokens than the model's. {MERGE}")
    return brought
