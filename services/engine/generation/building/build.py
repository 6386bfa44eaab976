"""Builds the engine of a loaded model: probes what its layers store, sizes the cache, and checks the result."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig

from services.engine.acceleration.replacement import accelerated
from services.engine.admission import Admission
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.device.memory import DeviceMemory, memory_of
from services.engine.generation.attention.backend import IMPLEMENTATION, AttentionCall, LooksAhead
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.attention.probe import LayoutProbe
from services.engine.generation.building.encoder_decoder_build import encoder_decoder_parts, first_line
from services.engine.generation.building.memory_plan import MemoryPlan
from services.engine.generation.building.parts import (
    EngineSettings,
    Parts,
    cache_bytes,
    fitting,
    page_count,
    require_rows,
    require_wide,
)
from services.engine.generation.building.serial_verification import remember, serial_references, verify_serial
from services.engine.generation.building.verification import NotPaged
from services.engine.generation.building.verified_runner import verified_runner
from services.engine.generation.cache.kv_cache import LayerLayout
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.paged_cache import PagedCache
from services.engine.generation.cache.state_size import state_size
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.recorded.recording import race_tiles, reading_seconds, record_steps
from services.engine.generation.running.rotary import frequencies_depend_on_length
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.running.serial_runner import Continuation, SerialRunner, nothing_given
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.speculation.speculation import Speculation, hindrance
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.check import MediaCheck
from services.engine.multimodal.encoder import MediaEncoder
from services.engine.multimodal.given import GivenMedia
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.media_queue import MediaQueue
from services.engine.pictures.build import picture_parts
from services.engine.pictures.encoder import PictureEncoder
from services.engine.threads.work_clock import work_clock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that was checked against its model and is not started yet."""

    engine: GenerationEngine
    context_tokens: int
    """Prompt and output together: the model's own context, or the cache if that is smaller."""
    source_tokens: int = 0
    """The context length of the encoder; 0 where there is none."""
    concurrency: int = 1
    """The most sequences that share a step."""
    serial: bool = False
    """Whether rows are run one by one, each with the model's own cache, instead of batched over pages."""
    reason: str = ""
    """Why rows are run this way: a sentence or two."""
    cache_pages: int = 0
    memory: MemoryPlan | None = None
    """Where the device's memory goes, where that is known."""
    media_cache: MediaCache | None = None
    """The cache of encoded images and recordings, where the model reads any."""
    no_lookup: str = ""
    """Why prompt lookup cannot be used; empty where it can."""
    rank_bytes: tuple[int, ...] = ()
    """Bytes of weights, keys and values on each rank, where there are several."""


def build_engine(loaded: LoadedModel, settings: EngineSettings, metrics: EngineMetrics) -> BuiltEngine:
    """Returns the engine for `loaded`: batched over a paged cache if the model then computes the same, else serial.

    Raises:
        ModelRefused: the results differ from the model's own either way, or there is too little memory for a cache.
    """
    require_rows(loaded, settings.max_sequences)
    if loaded.pictures or loaded.decoder_start_ids:
        require_wide(settings, f"{loaded.architecture} keeps those of an encoder too.")
    own_attention = loaded.attention
    try:
        make = picture_parts if loaded.pictures else encoder_decoder_parts if loaded.decoder_start_ids else paged_parts
        parts = make(loaded, settings)
    except NotPaged as reason:
        require_wide(settings, str(reason))
        if loaded.adapters is not None:
            raise ModelRefused(f"--adapters is for decoders whose keys and values lie in pages. {reason}") from reason
        loaded.attend_by(own_attention)
        parts = serial_parts(loaded, settings, str(reason))
    log.info("%s", parts.reason)
    return engine_of(loaded, parts, settings, metrics)


def engine_of(loaded: LoadedModel, parts: Parts, settings: EngineSettings, metrics: EngineMetrics) -> BuiltEngine:
    """Returns the engine made of checked parts."""
    clock = work_clock(loaded.device)
    serial, pages = isinstance(parts.runner, SerialRunner), parts.pool.page_count
    no_lookup = hindrance(parts.runner)
    encoder = PictureEncoder(loaded.pictures) if loaded.pictures else MediaEncoder.of(loaded) if loaded.media else None
    cache = MediaCache(settings.media_cache_bytes, metrics.looked_up) if encoder else None
    if loaded.media and serial:
        encoder = None  # each sequence's own forward encodes what it is given
    launcher = parts.runner.launcher if isinstance(parts.runner, ModelRunner) else None
    engine = GenerationEngine(
        parts.runner,
        _scheduler_of(parts, settings, clock),
        parts.pool,
        Admission(settings.queue),
        metrics,
        media=MediaQueue(encoder, cache) if encoder and cache else None,
        unread_tokens=settings.unread_tokens,
        messages_per_second=settings.messages_per_second,
        launcher=launcher,
        speculation=None if no_lookup else Speculation(parts.pool, metrics, clock, ahead=launcher is not None),
    )
    source_tokens, context_tokens = fitting(loaded, parts.pool)
    if parts.memory is not None:
        metrics.planned(parts.memory.parts)
    return BuiltEngine(
        engine,
        context_tokens,
        source_tokens,
        parts.max_sequences,
        serial,
        parts.reason,
        pages,
        parts.memory,
        cache,
        no_lookup,
    )


def _scheduler_of(parts: Parts, settings: EngineSettings, clock: Callable[[], float]) -> Scheduler:
    recorded = parts.runner.recorded if isinstance(parts.runner, ModelRunner) else None
    shapes = recorded.reading_shapes if recorded else ()
    return Scheduler(
        parts.pool,
        PrefillBudget(settings.prefill_tokens, settings.decode_slowdown, parts.reading_seconds, clock, shapes),
        max_sequences=parts.max_sequences,
        share_prefixes=parts.share_prefixes,
        shares_pages=parts.shares_pages,
        whole_prompts=parts.whole_prompts,
    )


def paged_parts(loaded: LoadedModel, settings: EngineSettings, memory: DeviceMemory | None = None) -> Parts:
    """Returns the parts of an engine with a paged cache. `memory` is by default that of the device.

    Raises:
        NotPaged: the model has other state than keys and values, or the engine's results differ from its own.
        ModelRefused: there is not enough memory.
    """
    cache = PagedCache(loaded, settings, asked_layouts(loaded, settings), memory or memory_of(loaded.device))
    runner, pool, plan = cache.build(partial(verified_runner, loaded))
    reading = 0.0
    if settings.record_decoding and loaded.device.type == "cuda":
        race_tiles(loaded, runner, pool, settings.max_sequences)
        runner.recorded = record_steps(loaded, runner, pool, settings.max_sequences)
        reading = reading_seconds(loaded, runner, pool) if runner.recorded else 0.0
    reason = "Its paged forward was compared with its own at load."
    return Parts(runner, pool, settings.max_sequences, False, settings.share_prefixes, True, reason, reading, plan)


def serial_parts(loaded: LoadedModel, settings: EngineSettings, reason: str) -> Parts:
    """Returns the parts of a serial engine, whose sequences each have the model's own cache; `reason` says why.

    Raises:
        ModelRefused: even so its results differ from the model's own.
    """
    memory = remember(loaded)
    references = serial_references(loaded, memory)
    given = nothing_given
    if (check := MediaCheck.of(loaded, lambda: memory.recall(memory.fresh))) is not None:
        given, references = GivenMedia.of(loaded), [*references, *check.references]
    continuation = accelerated(loaded, lambda: verify_serial(loaded, memory, references, given))
    size = state_size(loaded, memory)
    room = cache_bytes(settings, memory_of(loaded.device))
    sequences = min(settings.max_sequences, max(room // max(size.fixed_bytes, 1), 1))
    require_rows(loaded, sequences)
    pool = PagePool(page_count(loaded, settings, size, sequences), PAGE_SIZE)
    runner = SerialRunner(loaded.model, continuation, memory, given)
    whole = continuation is not Continuation.CHUNKS
    told = f"{reason} Each sequence has the model's own cache, which was compared with its own generate at load."
    return Parts(runner, pool, sequences, whole, False, False, told)


def asked_layouts(loaded: LoadedModel, settings: EngineSettings) -> dict[int, LayerLayout]:
    """Returns what `probe_layouts` does, narrowed to 8 bits where the settings say so."""
    return {index: replace(layout, narrow=settings.narrow_cache) for index, layout in probe_layouts(loaded).items()}


@torch.inference_mode()
def probe_layouts(loaded: LoadedModel) -> dict[int, LayerLayout]:
    """Returns what each attention layer stores, by running the model once on two tokens.

    Raises:
        NotPaged: a layer stores other state, or a token's keys depend on more than the tokens before it.
        ModelRefused: attention is not causal.
    """
    config = loaded.model.config.get_text_config()
    if by_length := frequencies_depend_on_length(config):
        raise NotPaged(
            f"{loaded.architecture} chooses its rotary frequencies by the longest sequence of a batch "
            f"({', '.join(by_length)}), so neighbours would change each other's results."
        )
    if getattr(config, "attn_temperature_tuning", False):
        raise NotPaged(
            f"{loaded.architecture} scales queries by places that it counts itself (attn_temperature_tuning), and of a "
            "step that several sequences share it would count all tokens as one's."
        )
    loaded.attend_by(IMPLEMENTATION)
    probe = LayoutProbe()
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=loaded.device)
    positions = torch.arange(2, device=loaded.device).unsqueeze(0)
    try:
        loaded.model(
            input_ids=tokens, position_ids=positions, use_cache=False, attention_call=AttentionCall(probe, None)
        )
    except LooksAhead as error:
        if loaded.media is not None:  # by a mask of its own it may look ahead within media only
            raise NotPaged(f"{loaded.architecture} is not run through a paged cache: {error}.") from error
        raise ModelRefused(
            f"{loaded.architecture} cannot continue a text: {error}. --task says what else it is served for."
        ) from error
    except MODEL_ERRORS as error:
        raise NotPaged(f"{loaded.architecture} cannot be run through a paged cache: {first_line(error)}.") from error
    expected = config.num_hidden_layers
    if len(probe.layouts) != expected:
        raise NotPaged(
            f"{loaded.architecture} has {expected} layers, of which {len(probe.layouts)} use transformers' attention "
            "interface."
        )
    _require_keys_and_values(loaded.architecture, config, probe)
    return probe.layouts


def _require_keys_and_values(architecture: str, config: PretrainedConfig, probe: LayoutProbe) -> None:
    """Raises NotPaged if the model's own cache holds something else of a layer, or less than its attention would see.

    In half precision, a state that adds little to a layer's output could pass for rounding.
    """
    own: list[Any] = DynamicCache(config=config).layers
    if any("LinearAttention" in type(layer).__name__ for layer in own):
        raise NotPaged(f"The cache of {architecture}'s own generate holds a state beside keys and values.")
    if any(
        getattr(own[index], "is_sliding", False) and not layer.sliding_window
        for index, layer in probe.layers.items()
        if index < len(own)
    ):
        raise NotPaged(f"The cache of {architecture}'s own generate forgets tokens that its attention would still see.")
