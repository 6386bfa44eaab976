"""The attention backend does not keep a cache alive."""

from weakref import ref

import pytest
import torch

from services.engine.generation.cache.kv_cache import KVCache, LayerLayout

pytest.importorskip("triton")
from services.engine.generation.attention.triton.backend import TritonAttention

PAGE = 16


@pytest.mark.parametrize("narrow", [False, True])
def test_a_cache_that_nothing_else_uses_is_let_go_of(narrow: bool) -> None:
    """The cache for the check at load would take memory from the real one."""
    backend = TritonAttention(torch.device("cpu"))
    cache = KVCache({3: LayerLayout(2, 1, 16, 16, torch.float32, narrow)}, 4, PAGE, torch.device("cpu"), by_token=True)
    backend.launch(3, cache)
    held = ref(cache)
    del cache
    assert held() is None
