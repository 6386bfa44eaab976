"""Puts a runner together on every rank, and compares it with the model's own forward under the same plan."""

import logging
from dataclasses import dataclass, replace
from functools import partial

from services.engine.checkpoint import ModelRefused
from services.engine.device_memory import memory_of
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.memory_plan import MemoryPlan
from services.engine.generation.building.parts import EngineSettings, Parts, choose_backend
from services.engine.generation.building.verification import Expected, NotPaged, check_prompts, verify
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.paged_cache import PagedCache
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.parallel.agreed_memory import AgreedMemory
from services.engine.parallel.group import RankGroup
from services.engine.parallel.plan import require_divided, weight_bytes
from services.engine.parallel.runner import LeadingRunner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankParts:
    """What one rank runs steps with."""

    runner: ModelRunner
    pool: PagePool
    """The first rank's says which pages belong to whom; the others' are of use at load alone."""
    memory: MemoryPlan
    rank_bytes: tuple[int, ...]
    """What each rank holds of weights and of keys and values."""

    def parts(self, settings: EngineSettings) -> Parts:
        """Returns those of the first rank's engine."""
        reason = f"Its paged forward was compared with its own at load, both over {len(self.rank_bytes)} ranks."
        shares, memory = settings.share_prefixes, self.memory
        return Parts(self.runner, self.pool, settings.max_sequences, False, shares, True, reason, memory=memory)


def rank_parts(loaded: LoadedModel, settings: EngineSettings, group: RankGroup) -> RankParts:
    """Returns a checked runner. All ranks call it with the same settings, and run the model together.

    Modules and steps stay the model's own: neither fused layers nor recorded steps know of the other ranks.

    Raises:
        ModelRefused: the results differ from the model's own, or the cache is too small.
    """
    require_divided(loaded.model, group.rank.size)
    group.each(0)  # none waits within a step for one that still reads its weights
    settings = replace(settings, record_decoding=False)
    try:
        memory = AgreedMemory(memory_of(loaded.device), group)
        cache = PagedCache(loaded, settings, probe_layouts(loaded), memory)
        runner, pool, plan = cache.build(partial(_verified, loaded))
    except NotPaged as reason:
        raise ModelRefused(f"--tensor-parallel {group.rank.size}: {reason} Serve it on one GPU.") from reason
    held = group.each(weight_bytes(loaded.model) + plan.cache)
    if group.rank.leads:
        log.info("MiB of weights and cache on each rank: %s", ", ".join(f"{each / 2**20:.1f}" for each in held))
        leading = LeadingRunner(loaded, runner.backend, runner.cache, group)
        leading.allowed_error = runner.allowed_error
        runner = leading
    return RankParts(runner, pool, plan, tuple(held))


def _verified(loaded: LoadedModel, cache: KVCache, pool: PagePool) -> ModelRunner:
    runner = ModelRunner(loaded.model, choose_backend(loaded, cache), cache, loaded.device)
    expected = Expected.of(loaded, check_prompts(loaded, pool))
    runner.allowed_error = expected.allowed
    verify(loaded, runner, pool, expected)
    return runner
