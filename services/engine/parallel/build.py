"""Builds the runner of each rank, and compares it with the model's own forward under the same plan."""

import logging
from dataclasses import dataclass
from functools import partial

from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import memory_of
from services.engine.generation.building.build import asked_layouts
from services.engine.generation.building.memory_plan import MemoryPlan
from services.engine.generation.building.parts import EngineSettings, Parts, choose_backend
from services.engine.generation.building.verification import NotPaged
from services.engine.generation.building.verified_runner import accelerate_and_verify
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.paged_cache import PagedCache
from services.engine.generation.recorded.recording import reading_seconds, record_steps
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.parallel.agreed_memory import AgreedMemory
from services.engine.parallel.group import RankGroup
from services.engine.parallel.narrow_parts import place_narrow
from services.engine.parallel.plain_layers import make_plain
from services.engine.parallel.plan import require_divided, weight_bytes
from services.engine.parallel.runner import LeadingRunner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankParts:
    """What one rank needs to run steps."""

    runner: ModelRunner
    pool: PagePool
    """Allocates the pages of the cache. Only the first rank's is used after load."""
    memory: MemoryPlan
    rank_bytes: tuple[int, ...]
    """Bytes of weights and KV cache on each rank."""
    reading_seconds: float
    """See Parts."""

    def parts(self, settings: EngineSettings) -> Parts:
        """Returns the parts of the first rank's engine."""
        reason = f"Its paged forward was compared with its own at load, both over {len(self.rank_bytes)} ranks."
        shares = settings.share_prefixes
        sequences, reading = settings.max_sequences, self.reading_seconds
        return Parts(self.runner, self.pool, sequences, False, shares, True, reason, reading, self.memory)


def rank_parts(loaded: LoadedModel, settings: EngineSettings, group: RankGroup) -> RankParts:
    """Returns a runner that was compared with the model. All ranks call it at once with the same settings.

    Raises:
        ModelRefused: the results differ from the model's own, or the cache is too small.
    """
    require_divided(loaded.model, group.rank.size)
    place_narrow(loaded.model, loaded.device, group.add_up, leads=group.rank.leads)
    weights = weight_bytes(loaded.model)
    group.each(0)  # wait for all to load: the timeout of a forward is too short for that
    try:
        memory = AgreedMemory(memory_of(loaded.device), group)
        cache = PagedCache(loaded, settings, asked_layouts(loaded, settings), memory)
        runner, pool, plan = cache.build(partial(_verified, loaded, group))
    except NotPaged as reason:
        raise ModelRefused(f"--tensor-parallel {group.rank.size}: {reason} Serve it on one GPU.") from reason
    reading = 0.0
    if settings.record_decoding:
        runner.recorded = record_steps(loaded, runner, pool, settings.max_sequences, group.agreed)
    if runner.recorded is not None:
        runner.recorded.share = group.share
        reading = reading_seconds(loaded, runner, pool)
    held = group.each(weights + plan.cache)
    if group.rank.leads:
        log.info("MiB of weights and cache on each rank: %s", ", ".join(f"{each / 2**20:.1f}" for each in held))
        leading = LeadingRunner(loaded, runner.backend, runner.cache, group)
        leading.allowed_error, leading.recorded = runner.allowed_error, runner.recorded
        runner = leading
    return RankParts(runner, pool, plan, tuple(held), reading)


def _verified(loaded: LoadedModel, group: RankGroup, cache: KVCache, pool: PagePool) -> ModelRunner:
    backend = choose_backend(loaded, cache)
    runner = ModelRunner(loaded.model, backend, cache, loaded.device)
    prepare = partial(make_plain, loaded.model, group.add_up, leads=group.rank.leads)
    accelerate_and_verify(loaded, runner, backend, pool, group.agreed, prepare)
    return runner
