"""Chooses the size of a paged cache, and makes it."""

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from services.engine.device.memory import DeviceMemory, MemoryReading
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.building.largest_step import step_costs
from services.engine.generation.building.memory_plan import (
    MemoryPlan,
    StepCosts,
    cache_room,
    require_page,
    require_room,
)
from services.engine.generation.building.parts import EngineSettings, most_pages, page_count
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.state_size import StateSize
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel

log = logging.getLogger(__name__)

_NO_PAGES = PagePool(0, PAGE_SIZE)
_TRIAL_PAGES = 512
"""Pages of the temporary cache with which the model is checked and steps are measured."""


class PagedCache:
    """Makes the cache of a model as large as the device has room for.

    The model is checked with a small cache first, so that weights and adapters lie in their final places when
    memory is read. Where the device's memory can be measured, the largest step is run too, and the cache gets what is
    left. Elsewhere it gets a share of the free memory, or the size in the settings.
    """

    def __init__(
        self, loaded: LoadedModel, settings: EngineSettings, layouts: dict[int, LayerLayout], memory: DeviceMemory
    ) -> None:
        self._loaded, self._settings, self._layouts, self._memory = loaded, settings, layouts, memory
        self._token_bytes = sum(layout.bytes_per_token for layout in layouts.values())
        self._page_bytes = PAGE_SIZE * self._token_bytes

    def build(self, verified: Callable[[KVCache, PagePool], ModelRunner]) -> tuple[ModelRunner, PagePool, MemoryPlan]:
        """Returns the runner that `verified` makes for a cache, with its final cache, its pages and the memory plan.

        Raises:
            ModelRefused: there is not enough memory. The message says what to lower.
        """
        if not self._memory.measures:
            return self._of_given_size(verified)
        most = most_pages(self._loaded, self._settings.max_sequences)
        before = self._memory.read()
        require_room(self._page_bytes, before, StepCosts())
        pool = PagePool(min(most, _TRIAL_PAGES, before.free // self._page_bytes), PAGE_SIZE)
        runner = verified(self._cache(pool), pool)
        fitting = self._memory.read().free // max(self._token_bytes, 1)
        costs = step_costs(self._loaded, self._settings, runner, pool, self._memory, fitting)
        runner.use(self._cache(_NO_PAGES))  # lets go of the small one
        reading = self._memory.read()
        pool = PagePool(min(most, self._pages(reading, costs)), PAGE_SIZE)
        require_room(pool.page_count * self._page_bytes, reading, costs)
        runner.use(self._cache(pool))
        return runner, pool, self._told(MemoryPlan(reading, costs, *self._sizes(pool)))

    def _of_given_size(
        self, verified: Callable[[KVCache, PagePool], ModelRunner]
    ) -> tuple[ModelRunner, PagePool, MemoryPlan]:
        size = StateSize(0, self._token_bytes)
        wanted = partial(page_count, self._loaded, self._settings, size, memory=self._memory)
        weights = self._loaded.model.get_memory_footprint()
        pool = PagePool(min(wanted(), _TRIAL_PAGES), PAGE_SIZE)
        runner = verified(self._cache(pool), pool)
        runner.use(self._cache(_NO_PAGES))
        gc.collect()
        adapters = self._loaded.adapters
        reading = replace(self._memory.read(), held=weights + (adapters.byte_count if adapters else 0))
        pool = PagePool(wanted(), PAGE_SIZE)
        runner.use(self._cache(pool))
        return runner, pool, self._told(MemoryPlan(reading, StepCosts(), *self._sizes(pool)))

    def _pages(self, reading: MemoryReading, costs: StepCosts) -> int:
        settings = self._settings
        if settings.cache_bytes is not None:
            return max(settings.cache_bytes // self._page_bytes, 1)
        room = cache_room(reading, costs, settings.memory_share)
        require_page(self._page_bytes, room, reading, costs, settings.memory_share)
        return room // self._page_bytes

    def _cache(self, pool: PagePool) -> KVCache:
        return KVCache(self._layouts, pool.page_count, PAGE_SIZE, self._loaded.device)

    def _sizes(self, pool: PagePool) -> tuple[int, int]:
        return pool.page_count * self._page_bytes, pool.page_count * PAGE_SIZE

    def _told(self, plan: MemoryPlan) -> MemoryPlan:
        log.info("Memory of %s:\n%s", self._loaded.device, plan.table())
        return plan
