"""A follower that runs the GPU code path on the CPU: Triton kernels are interpreted, CUDA graphs are re-executed."""

import sys
from functools import partial

from services.engine import checkpoint
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.building import verification
from services.engine.generation.cache import paged_cache
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded import step_graphs, step_shape
from services.engine.parallel import build
from services.text.follower import main
from tests.interpreter import quicken
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

REPLACED = (
    (checkpoint, "unsuitable", lambda *_: ""),
    (build, "choose_backend", lambda loaded, cache: TritonAttention(loaded.device)),
    (build, "reading_seconds", lambda *_: 0.0),
    (verification, "_LENGTH", 9),
    (paged_cache, "KVCache", partial(KVCache, by_token=True)),
    (step_graphs, "StepGraphs", PlayedGraphs),
    (step_shape, "_PROPOSED", (4,)),
    (step_shape, "_READ", (16,)),
)
"""Replacements for what needs a GPU: (module, attribute, replacement)."""

if __name__ == "__main__":
    quicken()
    for module, name, other in REPLACED:
        setattr(module, name, other)
    sys.exit(main())
