import ctypes
import gc
import mmap
from pathlib import Path

import pytest
import torch

from services.engine.generation.building.parts import PAGE_SIZE, EngineSettings, page_count
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from services.engine.generation.cache.state_size import StateSize
from services.engine.loading import LoadedModel
from tests.drawn import drawn

GIVEN = 192 << 20


def resident() -> int:
    """Returns how many bytes of memory this process has, less what earlier tests have left for the collector."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.parametrize(
    ("heads", "width", "dtype"),
    drawn([(*size, dtype) for size in ((2, 128), (1, 16)) for dtype in (torch.float32, torch.bfloat16)], 2),
)
def test_a_cache_takes_what_it_was_given_from_the_start(
    llama: LoadedModel, heads: int, width: int, dtype: torch.dtype
) -> None:
    layouts = {layer: LayerLayout(heads, heads, width, width, dtype) for layer in range(4)}
    token_bytes = sum(layout.bytes_per_token for layout in layouts.values())
    settings = EngineSettings(max_sequences=1 << 16, cache_bytes=GIVEN)
    pages = page_count(llama, settings, StateSize(0, token_bytes))
    before = resident()
    cache = KVCache(layouts, pages, PAGE_SIZE, torch.device("cpu"))
    assert resident() - before == pytest.approx(GIVEN, rel=0.05)
    del cache
    assert resident() - before < 0.05 * GIVEN
