"""Builds the engine of a speech encoder-decoder and checks it against the model."""

from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from services.engine.acceleration.replacement import accelerated, fuse_encoder
from services.engine.admission import Admission
from services.engine.checkpoint import ModelRefused
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.building.build import BuiltEngine
from services.engine.generation.building.encoder_decoder_build import layouts_of, verify_encoder_decoder
from services.engine.generation.building.generated import Reference
from services.engine.generation.building.parts import (
    EngineSettings,
    choose_backend,
    fitting,
    page_count,
    require_rows,
    require_wide,
)
from services.engine.generation.building.verification import NotPaged
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.state_size import StateSize
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.running.media import Medium
from services.engine.generation.scheduler import Scheduler
from services.engine.listening.encoder import WindowEncoder
from services.engine.listening.hearing import Hearing
from services.engine.listening.runner import HeardSource, ListeningRunner
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.media_queue import MediaQueue
from services.engine.threads.work_clock import work_clock

_LENGTHS = (1, 4)
"""Lengths of the prompts that the engine is checked with."""
_NEW_TOKENS = 8


class HeardModel(Protocol):
    """A speech encoder-decoder: the encoder reads a window of audio, the decoder writes tokens."""

    @property
    def loaded(self) -> LoadedModel:
        """The model. Its `source_tokens` are the encoder states of the longest window."""
        ...

    @property
    def encoder(self) -> WindowEncoder:
        """Encodes windows."""
        ...

    @property
    def alignment_heads(self) -> tuple[tuple[int, int], ...]:
        """Pairs of a decoder layer and a head whose cross-attention follows the audio."""
        ...

    def noise(self, seed: int) -> Medium:
        """Returns the longest window, of noise, not encoded yet."""
        ...


def build_listening_engine(model: HeardModel, settings: EngineSettings, metrics: EngineMetrics) -> BuiltEngine:
    """Builds the engine. Raises ModelRefused if its results differ from the model's, or the cache is too small."""
    loaded = model.loaded
    require_rows(loaded, settings.max_sequences)
    require_wide(settings, f"{loaded.architecture} keeps those of an encoder too.")
    window = model.noise(0)
    try:
        layouts = layouts_of(loaded, loaded.model.config, partial(_run, loaded, window))
    except NotPaged as reason:
        raise ModelRefused(str(reason)) from reason
    pages = page_count(loaded, settings, StateSize(0, sum(layout.bytes_per_token for layout in layouts.values())))
    source_tokens, context_tokens = fitting(loaded, pool := PagePool(pages, PAGE_SIZE))
    if source_tokens < loaded.source_tokens:
        raise ModelRefused("The cache is too small for the encoder states of one window: raise --cache-mib.")
    cache = KVCache(layouts, pages, PAGE_SIZE, loaded.device)
    encoder = model.encoder
    references = [_reference(model, encoder, length) for length in _LENGTHS]
    runner = ListeningRunner(HeardSource(loaded.model), choose_backend(loaded, cache), cache)
    runner.heads = model.alignment_heads
    try:
        accelerated(loaded, lambda: verify_encoder_decoder(loaded, runner, pool, references))
    except NotPaged as reason:
        raise ModelRefused(str(reason)) from reason
    fuse_encoder(loaded, lambda: [torch.stack(encoder.encode([window] * 2))])
    budget = PrefillBudget(settings.prefill_tokens, settings.decode_slowdown, clock=work_clock(loaded.device))
    engine = GenerationEngine(
        runner,
        Scheduler(pool, budget, max_sequences=settings.max_sequences, share_prefixes=False),
        pool,
        Admission(settings.queue),
        metrics,
        media=MediaQueue(encoder, MediaCache(0)),
        unread_tokens=settings.unread_tokens,
        messages_per_second=settings.messages_per_second,
    )
    reason = "Its decoder, run through the paged cache, was compared with its own forward at load."
    return BuiltEngine(engine, context_tokens, source_tokens, settings.max_sequences, False, reason, pages)


def _run(loaded: LoadedModel, window: Medium, input_ids: Tensor) -> Any:
    own: Any = loaded.model
    inputs = {
        name: value.to(loaded.device, own.dtype if value.is_floating_point() else None)
        for name, value in window.inputs.items()
    }
    return own(**inputs, decoder_input_ids=input_ids, use_cache=True, return_dict=True)


@torch.inference_mode()
def _reference(model: HeardModel, encoder: WindowEncoder, length: int) -> Reference:
    """Returns logits of the model's own forward on noise, for a prompt of `length` tokens and random ones after it.

    The reference's window is encoded.
    """
    loaded = model.loaded
    window = model.noise(length)
    (features,) = encoder.encode([window])
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(loaded.vocabulary_size, (1, length + _NEW_TOKENS), generator=generator).to(loaded.device)
    # Some models give padding no position, and then one forward differs from token-by-token decoding.
    padding = loaded.tokenizer.pad_token_id
    ids[ids == padding] = 0 if padding else 1
    logits: Tensor = _run(loaded, window, ids).logits[0, length - 1 : -1].float()
    window.take(features)
    prompt, tokens = ids[0, :length].tolist(), ids[0, length:].tolist()
    return Reference((0,) * window.token_count, prompt, tokens, logits, Hearing(window, 0))
