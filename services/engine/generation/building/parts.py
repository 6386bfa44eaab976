"""The parts of an engine, paged or serial: settings, a checked runner, and pages."""

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
    """The most prompt tokens of a step."""
    decode_slowdown: float = 1.5
    """How many times as long a step may take that reads a prompt beside decoding rows; see PrefillBudget."""
    cache_bytes: int | None = None
    """Size of the cache; less is taken if all rows at full context need less. None: what the memory plan leaves."""
    narrow_cache: bool = False
    """Whether keys and values are stored in 8 bits."""
    memory_share: float = 0.9
    """The share of a GPU's memory, less what others hold, that is used where `cache_bytes` is None."""
    share_prefixes: bool = True
    """Whether the prefix cache is on."""
    record_decoding: bool = True
    """Whether steps are recorded as CUDA graphs, where there is a GPU."""
    unread_tokens: int = 1024
    """The most generated tokens that may wait for a slow reader."""
    messages_per_second: int = 0
    """The most deltas per second of all streams together; 0: no bound."""
    media_cache_bytes: int = 256 << 20
    """Size of the cache of encoded images and recordings."""
    queue: QueueLimits = field(default_factory=QueueLimits)


@dataclass(frozen=True)
class Parts:
    """What differs between paged and serial engines."""

    runner: Runner
    pool: PagePool
    max_sequences: int
    whole_prompts: bool
    share_prefixes: bool
    shares_pages: bool
    """Whether pages hold the keys and values; otherwise they only account for the memory of a sequence's own cache."""
    reason: str
    reading_seconds: float = 0.0
    """The fixed extra cost of a step that reads prompts, where decode steps are replayed from a recording."""
    memory: MemoryPlan | None = None
    """Where the device's memory goes, where steps share pages."""


def require_rows(loaded: LoadedModel, max_sequences: int) -> None:
    """Checks that a request with the model's default parameters can run.

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
    """Checks that no 8-bit cache is asked for where no kernel reads one; `reason` is a sentence.

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

    Memory that sequences hold besides pages is set aside first. `sequences` is by default that of the settings.

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
    """Returns the size of the cache in bytes, where no step was measured."""
    return default_bytes(memory, settings.memory_share) if settings.cache_bytes is None else settings.cache_bytes


def most_pages(loaded: LoadedModel, sequences: int) -> int:
    """Returns how many pages `sequences` at full context take."""
    return sequences * (pages_of(loaded.source_tokens) + pages_of(loaded.context_tokens))


def pages_of(tokens: int) -> int:
    """Returns how many pages `tokens` take."""
    return -(-tokens // PAGE_SIZE)


def fitting(loaded: LoadedModel, pool: PagePool) -> tuple[int, int]:
    """Returns the context lengths of encoder and decoder with which one request fits into the cache.

    Where both do not fit at their full lengths, they are shortened in proportion.
    """
    source, context = loaded.source_tokens, loaded.context_tokens
    if pages_of(source) + pages_of(context) <= pool.page_count:
        return source, context
    pages = pool.page_count * source // (source + context)
    return min(pages * PAGE_SIZE, source), min((pool.page_count - pages) * PAGE_SIZE, context)
