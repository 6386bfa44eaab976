"""The parts of an engine for an encoder-decoder whose decoder's attention can be led through the paged cache."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import EncoderDecoderCache, PreTrainedModel

from services.engine.acceleration.replacement import accelerated
from services.engine.checkpoint import MODEL_ERRORS
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.building.generated import Reference, generated, relative_error
from services.engine.generation.building.parts import EngineSettings, Parts, choose_backend, page_count
from services.engine.generation.building.verification import NotPaged, tolerance
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.state_size import StateSize
from services.engine.generation.running.encoder_decoder_runner import EncoderDecoderRunner, TextSource
from services.engine.generation.running.rotary import frequencies_depend_on_length
from services.engine.loading import LoadedModel

_LENGTHS = (24, 10)


def encoder_decoder_parts(loaded: LoadedModel, settings: EngineSettings) -> Parts:
    """Returns the parts of an engine whose keys and values, of both kinds of attention, lie in pages.

    Raises:
        NotPaged: the decoder keeps other state, or the engine's results differ from those of its own `generate`.
    """
    layouts = decoder_layouts(loaded)
    token_bytes = sum(layout.bytes_per_token for layout in layouts.values())
    pages = page_count(loaded, settings, StateSize(0, token_bytes))
    pool = PagePool(pages, PAGE_SIZE)
    cache = KVCache(layouts, pages, PAGE_SIZE, loaded.device)
    runner = EncoderDecoderRunner(TextSource(loaded.model), choose_backend(loaded, cache), cache)
    longest = min(loaded.source_tokens, loaded.context_tokens // 2)
    references = [generated(loaded, min(length, longest)) for length in _LENGTHS]
    accelerated(loaded, lambda: verify_encoder_decoder(loaded, runner, pool, references))
    reason = "Its decoder, run through the paged cache, was compared with its own generate at load."
    return Parts(runner, pool, settings.max_sequences, False, False, True, reason)


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says, without its end."""
    return str(error).partition("\n")[0].rstrip(" .:")


def verify_encoder_decoder(
    loaded: LoadedModel, runner: EncoderDecoderRunner, pool: PagePool, references: list[Reference]
) -> None:
    """Compares sequences beside each other with what `generate` has made of each alone.

    Raises:
        NotPaged: they differ by more than rounding explains.
    """
    try:
        error = relative_error(runner, references, pool=pool)
    except MODEL_ERRORS as failure:
        raise NotPaged(
            f"{loaded.architecture} cannot be run through a paged cache: {first_line(failure)}."
        ) from failure
    if not error <= tolerance(loaded):
        raise NotPaged(
            f"{loaded.architecture} computes other logits through the paged cache than in its own generate (relative "
            f"error {error:.2g}): its attention does not all go through the attention interface."
        )


def decoder_layouts(loaded: LoadedModel) -> dict[int, LayerLayout]:
    """Returns what each decoder layer stores, the same for its own tokens and for the encoder's, from one forward.

    Raises:
        NotPaged: it stores something else, or different things.
    """
    model: Any = loaded.model
    if not isinstance(model.get_decoder(), PreTrainedModel):  # FSMT's
        raise NotPaged(f"The decoder of {loaded.architecture} tells nothing of how it attends.")
    return layouts_of(loaded, model.config, partial(_run, model))


def _run(model: Any, input_ids: Tensor) -> Any:
    return model(input_ids=input_ids, decoder_input_ids=input_ids, use_cache=True, return_dict=True)


@torch.inference_mode()
def layouts_of(loaded: LoadedModel, of_model: Any, run: Callable[..., Any]) -> dict[int, LayerLayout]:
    """Returns the layouts of a decoder of the configuration `of_model`; `run` runs it on `input_ids`.

    Raises NotPaged as `decoder_layouts` does.
    """
    config = of_model.get_text_config(decoder=True)
    if by_length := frequencies_depend_on_length(config):
        raise NotPaged(f"{loaded.architecture} chooses rotary frequencies by length ({', '.join(by_length)}).")
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=loaded.device)
    try:
        output = run(input_ids=tokens)
    except MODEL_ERRORS as failure:
        raise NotPaged(f"{loaded.architecture} cannot be run on two tokens: {first_line(failure)}.") from failure
    caches = output.get("cache") or output.get("past_key_values")
    if not isinstance(caches, EncoderDecoderCache):
        raise NotPaged(f"{loaded.architecture} keeps something else than keys and values.")
    layouts: dict[int, LayerLayout] = {}
    # Where each head has its own keys, some configurations tell the heads of an encoder by the usual name.
    shared = getattr(config, "num_key_value_heads", None)
    group = config.num_attention_heads // shared if shared else 1
    pairs: Any = zip(caches.self_attention_cache.layers, caches.cross_attention_cache.layers, strict=True)
    for index, (own, cross) in enumerate(pairs):
        pairs_of_shapes = ((own.keys.shape, cross.keys.shape), (own.values.shape, cross.values.shape))
        if any(a[1] != b[1] or a[3] != b[3] for a, b in pairs_of_shapes):
            raise NotPaged(f"{loaded.architecture} keeps keys of one shape for its own tokens, of another for others.")
        kv_heads, _, width = own.keys.shape[1:]
        layouts[index] = LayerLayout(group * kv_heads, kv_heads, width, own.values.shape[3], own.keys.dtype)
    return layouts
