"""Puts an engine together for a loaded model: probes what its layers store, sizes the cache, checks the result."""

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import PretrainedConfig

from services.engine.fusion.substitution import Substitutions, fuse
from services.engine.generation.admission import Admission, QueueLimits
from services.engine.generation.attention.backend import AttentionBackend, AttentionCall
from services.engine.generation.attention.cpu import PAGE_SIZE, CpuAttention, takes
from services.engine.generation.attention.probe import LayoutProbe
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.kv_cache import KVCache, LayerLayout
from services.engine.generation.page_pool import PagePool
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.runner import ModelRunner
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.verification import check_prompts, engine_logits, model_logits, verify
from services.engine.loading import LoadedModel, ModelRefused
from services.engine.metrics import EngineMetrics
from services.engine.native.arena import Arena
from services.engine.native.library import load_library
from services.engine.packing import pack_linears

log = logging.getLogger(__name__)

_ROPE_OF_THE_LONGEST_ROW = {"dynamic", "longrope"}


@dataclass(frozen=True)
class EngineSettings:
    """Sizes of one engine."""

    max_sequences: int = 32
    prefill_tokens: int = 512
    """Prompt tokens per step at most."""
    decode_slowdown: float = 1.7
    """How many times as long a step may take for a prompt beside rows that decode; see PrefillBudget."""
    cache_bytes: int = 1 << 30
    """Memory for keys and values; less is taken where every row at full context needs less."""
    share_prefixes: bool = True
    """Whether requests start behind beginnings that others have computed."""
    unread_tokens: int = 1024
    """Generated tokens that may wait for a slow reader."""
    queue: QueueLimits = field(default_factory=QueueLimits)


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that was checked against its model, not started yet."""

    engine: GenerationEngine
    context_tokens: int
    """Prompt and output together: the model's own context, or the cache if that is smaller."""
    cache_pages: int = 0


def build_engine(loaded: LoadedModel, settings: EngineSettings, metrics: EngineMetrics) -> BuiltEngine:
    """Returns the engine for `loaded`.

    Raises:
        ModelRefused: the model keeps state that is not keys and values, or the engine's results differ from its own.
    """
    require_rows(loaded, settings.max_sequences)
    layouts = probe_layouts(loaded)
    pages = page_count(loaded, settings, layouts)
    pool = PagePool(pages, PAGE_SIZE)
    cache = KVCache(layouts, pages, PAGE_SIZE, loaded.device)
    backend = choose_backend(loaded, cache)
    runner = ModelRunner(loaded.model, backend, cache, loaded.device)
    accelerate_and_verify(loaded, runner, backend, pool)
    budget = PrefillBudget(settings.prefill_tokens, settings.decode_slowdown)
    scheduler = Scheduler(pool, budget, max_sequences=settings.max_sequences, share_prefixes=settings.share_prefixes)
    engine = GenerationEngine(
        runner, scheduler, pool, Admission(settings.queue), metrics, unread_tokens=settings.unread_tokens
    )
    return BuiltEngine(engine, min(loaded.context_tokens, pages * PAGE_SIZE), pages)


def require_rows(loaded: LoadedModel, max_sequences: int) -> None:
    """Checks that a request that leaves all to the model can run.

    Raises:
        ModelRefused: the model's own generation configuration asks for more beams or outputs than there are rows.
    """
    needed = max(loaded.defaults.beam_count or 1, loaded.defaults.candidate_count or 1)
    if needed > max_sequences:
        raise ModelRefused(
            f"{loaded.architecture} generates {needed} sequences for a request by its own configuration (num_beams, "
            f"num_return_sequences), and --max-sequences is {max_sequences}."
        )


def accelerate_and_verify(loaded: LoadedModel, runner: ModelRunner, backend: AttentionBackend, pool: PagePool) -> None:
    """Puts faster modules into the model where there are any, and compares the engine with the model itself.

    Raises:
        ModelRefused: their results differ, with the model's own modules too.
    """
    expected = model_logits(loaded, check_prompts(loaded, pool))
    substitutions = Substitutions(loaded.model)
    library, arena = load_library() if loaded.device.type == "cpu" else None, Arena()
    if library is not None and isinstance(backend, CpuAttention):
        run = partial(engine_logits, runner, pool, check_prompts(loaded, pool))
        fuse(substitutions, loaded.model, backend, library, arena, run)
    pack_linears(substitutions, loaded.model, library, arena)
    try:
        verify(loaded, runner, pool, expected)
    except (AttributeError, ModelRefused) as error:
        # AttributeError: some models read the weights of their layers themselves.
        log.info("the model's own modules are used: %s", error)
        substitutions.undo()
        verify(loaded, runner, pool, expected)
    else:
        log.info("replaced by faster ones: %s", substitutions.counts())


def choose_backend(loaded: LoadedModel, cache: KVCache) -> AttentionBackend:
    """Returns the fastest backend for the device and the cache; the reference where there is no other."""
    if loaded.device.type == "cpu" and takes(cache) and (library := load_library()) is not None:
        library.threads = torch.get_num_threads()
        return CpuAttention(library)
    return ReferenceAttention()


@torch.inference_mode()
def probe_layouts(loaded: LoadedModel) -> dict[int, LayerLayout]:
    """Returns what each attention layer stores, by running the model once on two tokens."""
    config = loaded.model.config.get_text_config()
    if unstable := rope_types(config) & _ROPE_OF_THE_LONGEST_ROW:
        raise ModelRefused(
            f"{loaded.architecture} chooses its rotary frequencies by the longest sequence of a batch "
            f"({', '.join(unstable)}), so neighbours would change each other's results."
        )
    probe = LayoutProbe()
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=loaded.device)
    positions = torch.arange(2, device=loaded.device).unsqueeze(0)
    try:
        loaded.model(
            input_ids=tokens, position_ids=positions, use_cache=False, attention_call=AttentionCall(probe, None)
        )
    except (TypeError, ValueError) as error:
        raise ModelRefused(f"{loaded.architecture} cannot be run through a paged cache: {error}") from error
    expected = config.num_hidden_layers
    if len(probe.layouts) != expected:
        raise ModelRefused(
            f"{loaded.architecture} has {expected} layers, of which {len(probe.layouts)} use transformers' attention "
            "interface. Models with recurrent, convolutional or hidden attention state are not served yet."
        )
    return probe.layouts


def rope_types(config: PretrainedConfig) -> set[str]:
    """Returns the kinds of rotary embedding of a configuration, which may differ by the type of a layer."""
    parameters: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return {str(kind["rope_type"]) for kind in [parameters, *nested] if "rope_type" in kind}


def page_count(loaded: LoadedModel, settings: EngineSettings, layouts: dict[int, LayerLayout]) -> int:
    """Returns how many pages the cache gets: as many as `max_sequences` full contexts need, within `cache_bytes`."""
    page_bytes = PAGE_SIZE * sum(layout.bytes_per_token for layout in layouts.values())
    most = settings.max_sequences * -(-loaded.context_tokens // PAGE_SIZE)
    pages = min(most, settings.cache_bytes // page_bytes)
    if pages < 1:
        raise ModelRefused(f"A cache of {settings.cache_bytes} bytes does not hold one page of {page_bytes} bytes.")
    log.info("The cache holds %d tokens in %.1f MiB", pages * PAGE_SIZE, pages * page_bytes / 2**20)
    return pages
