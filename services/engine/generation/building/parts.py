"""What an engine is put together from, however its model is run: settings, a checked runner, and pages."""

import logging
from dataclasses import dataclass, field
from typing import TypeVar

from services.engine.admission import QueueLimits
from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import DeviceMemory, memory_of
from services.engine.generation.attention.backend import AttentionBackend
from services.engine.generation.attention.cpu import PAGE_SIZE, CpuAttention, takes
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.memory_plan import MemoryPlan, StepCosts, default_bytes, require_room
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.state_size import StateSize
from services.engine.generation.running.runner import Runner
from services.engine.loading import LoadedModel
from services.engine.native.library import load_library

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class EngineSettings:
    """Sizes of one engine."""

    max_sequences: int = 32
    prefill_tokens: int = 2048
    """Prompt tokens per step at most."""
    decode_slowdown: float = 1.5
    """How many times as long a step may take for a prompt beside rows that decode; see PrefillBudget."""
    cache_bytes: int | None = None
    """Memory for keys and values; less is taken where every row at full context needs less. None: what there is."""
    narrow_cache: bool = False
    """Whether keys and values are stored in 8 bits."""
    memory_share: float = 0.9
    """How much of a GPU's memory, less what others hold there, is taken at most where `cache_bytes` is None."""
    share_prefixes: bool = True
    """Whether requests start behind beginnings that others have computed."""
    record_decoding: bool = True
    """Whether steps are recorded as CUDA graphs, where there is a GPU."""
    unread_tokens: int = 1024
    """Generated tokens that may wait for a slow reader."""
    messages_per_second: int = 0
    """Deltas of all streams together at most; 0 for no bound."""
    media_cache_bytes: int = 256 << 20
    """Memory for what was made of images and recordings, for prompts to come that hold the same."""
    queue: QueueLimits = field(default_factory=QueueLimits)


@dataclass(frozen=True)
class Parts:
    """What is different about an engine by how its model is run."""

    runner: Runner
    pool: PagePool
    max_sequences: int
    whole_prompts: bool
    share_prefixes: bool
    shares_pages: bool
    """Whether pages hold what is computed; else they only stand for the memory it takes."""
    reason: str
    reading_seconds: float = 0.0
    """How much longer a step takes for reading at all, beside steps that are recorded."""
    memory: MemoryPlan | None = None
    """Where the device's memory goes, where steps share pages."""


def require_rows(loaded: LoadedModel, max_sequences: int) -> None:
    """Checks that a request that leaves all to the model can run.

    Raises:
        ModelRefused: the model's own generation configuration asks for more beams or outputs than there are rows.
    """
    needed = max(loaded.defaults.beam_count or 1, loaded.defaults.candidate_count or 1)
    if needed > max_sequences:
        raise ModelRefused(
            f"{loaded.architecture} generates {needed} sequences for a request by its own configuration (num_beams, "
            f"num_return_sequences), and {max_sequences} are worked on at once: see --max-sequences and --cache-mib."
        )


def require_wide(settings: EngineSettings, reason: str) -> None:
    """Checks that 8 bits are not asked for where no kernel reads them; `reason` is a sentence.

    Raises:
        ModelRefused: they are.
    """
    if settings.narrow_cache:
        raise ModelRefused(f"--kv-cache-dtype fp8_e4m3 is for decoders whose keys and values lie in pages. {reason}")


def choose_backend(loaded: LoadedModel, cache: KVCache) -> AttentionBackend:
    """Returns the fastest backend for the device and the cache; the reference where there is no other."""
    if loaded.device.type == "cpu" and takes(cache) and (library := load_library()) is not None:
        return CpuAttention(library)
    if loaded.device.type == "cuda" and (backend := _triton_backend(loaded, cache)) is not None:
        return backend
    if loaded.device.type == "cpu" and any(layout.narrow for layout in cache.layouts.values()):
        log.warning("Attention is computed without the library, which does not read keys and values in 8 bits")
    return ReferenceAttention()


def _triton_backend(loaded: LoadedModel, cache: KVCache) -> AttentionBackend | None:
    try:  # here, as Triton is not made for every system
        from services.engine.generation.attention.triton import backend
    except ImportError as error:
        log.warning("Attention is computed without kernels, since Triton is not there: %s", error)
        return None
    return backend.TritonAttention(loaded.device) if backend.takes(cache) else None


def page_count(
    loaded: LoadedModel,
    settings: EngineSettings,
    size: StateSize,
    sequences: int | None = None,
    memory: DeviceMemory | None = None,
) -> int:
    """Returns how many pages the cache gets: as many as all sequences at full context need, within `cache_bytes`.

    What sequences keep besides is set aside first. `sequences` are the settings' own unless given.

    Raises:
        ModelRefused: no page has room, or the device has less free.
    """
    sequences, memory = sequences or settings.max_sequences, memory or memory_of(loaded.device)
    page_bytes, aside = PAGE_SIZE * size.token_bytes, sequences * size.fixed_bytes
    most = most_pages(loaded, sequences)
    given = cache_bytes(settings, memory)
    pages = min(most, (given - aside) // page_bytes) if page_bytes else most
    if pages < 1:
        raise ModelRefused(
            f"A cache of {given} bytes does not hold one page of {page_bytes} bytes beside the {aside} "
            f"bytes of {sequences} sequences: see --cache-mib and --max-sequences."
        )
    require_room(pages * page_bytes + aside, memory.read(), StepCosts())
    log.info(
        "The cache holds %d tokens in %.1f MiB, and %d sequences keep %.1f MiB besides",
        pages * PAGE_SIZE, pages * page_bytes / 2**20, sequences, aside / 2**20,
    )  # fmt: skip
    return pages


def cache_bytes(settings: EngineSettings, memory: DeviceMemory) -> int:
    """Returns what the cache may take where no step was measured."""
    return default_bytes(memory, settings.memory_share) if settings.cache_bytes is None else settings.cache_bytes


def most_pages(loaded: LoadedModel, sequences: int) -> int:
    """Returns how many pages so many sequences take at full context."""
    return sequences * (pages_of(loaded.source_tokens) + pages_of(loaded.context_tokens))


def pages_of(tokens: int) -> int:
    """Returns how many pages `tokens` take."""
    return -(-tokens // PAGE_SIZE)


def fitting(loaded: LoadedModel, pool: PagePool) -> tuple[int, int]:
    """Returns how many tokens an encoder may read and how long prompt and output may be, so that one request fits.

    Where both do not fit at their full lengths, they share the pages in proportion.
    """
    source, context = loaded.source_tokens, loaded.context_tokens
    if pages_of(source) + pages_of(context) <= pool.page_count:
        return source, context
    pages = pool.page_count * source // (source + context)
    return min(pages * PAGE_SIZE, source), min((pool.page_count - pages) * PAGE_SIZE, context)
