"""Mixtures of experts with interpreted kernels, and recordings that are simulated."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from services.engine.fusion.substitution import Makers, Substitutions, substitute
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded import step_shape
from services.engine.generation.recorded.step_shape import Extent
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel, load_language_model
from services.engine.narrow.model import narrow_weights, widen_weights
from services.engine.narrow.numbers import NarrowKind
from tests.drawn import drawn
from tests.services.bench import real_bench
from tests.services.engine.kernel_devices import INTERPRETED, shorten
from tests.tiny.language_models import write_checkpoint

pytest.importorskip("triton")
from services.engine.fusion.triton.experts import gpu_experts
from services.engine.fusion.triton.router import gpu_router
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")
PROMPTS = [[9, 40, 7, 33, 21], [61]]
STEPS = 6


class WaitsForTheDevice(Exception):
    pass


class Recording(TorchDispatchMode):
    """Refuses operations that cannot be recorded as a CUDA graph: those whose shapes or branches depend on values.

    It notes the names of all other operations.
    """

    _WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "grouped_mm_fallback")

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in self._WAITING):
            raise WaitsForTheDevice(str(func))
        self.asked.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def load(folder: Path, kind: NarrowKind | None = None) -> LoadedModel:
    loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32")
    if kind:
        narrow_weights(loaded.model, kind, CPU)
    return loaded


def own(folder: Path, kind: NarrowKind | None) -> list[list[int]]:
    """Returns what `generate` makes of each prompt alone, with the rounded weights."""
    model: Any = load(folder, kind).model
    widen_weights(model)
    asked = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
    return [model.generate(torch.tensor([prompt]), **asked)[0, len(prompt) :].tolist() for prompt in PROMPTS]


@pytest.mark.parametrize(
    ("name", "kind"),
    drawn([("mixtral", None), ("gpt_oss", "int8"), ("qwen3_moe", "fp8_e4m3"), ("deepseek_v3", None)], 2),
)
async def test_rows_beside_each_other_continue_as_generate_does(
    name: str, kind: NarrowKind | None, tmp_path: Path
) -> None:
    loaded = load(write_checkpoint(tmp_path, name), kind)
    substitutions, prompt = Substitutions(loaded.model), torch.tensor(PROMPTS[:1])
    makers: Makers = {"GpuExperts": gpu_experts, "GpuRouter": gpu_router}
    substitute(substitutions, loaded.model, makers, lambda: model_logits(loaded, prompt))
    layers = loaded.model.config.num_hidden_layers
    assert substitutions.counts() == f"{layers} GpuExperts, {layers} GpuRouter"
    bench = real_bench(loaded)
    try:
        asked = {"max_new_tokens": STEPS, "min_new_tokens": STEPS}
        results = await asyncio.gather(*(bench.run(prompt, **asked) for prompt in PROMPTS))
    finally:
        bench.engine.close()
    assert [result.ids for result in results] == own(tmp_path, kind)


def test_a_step_asks_the_device_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_shape, "_READ", (16,))
    loaded = load(write_checkpoint(tmp_path, "mixtral"))
    shorten(loaded.model)
    cache, pool = KVCache(probe_layouts(loaded), 4, PAGE_SIZE, CPU, by_token=True), PagePool(4, PAGE_SIZE)
    backend, prompt, substitutions = TritonAttention(CPU), torch.tensor([[7, 9]]), Substitutions(loaded.model)
    runner = ModelRunner(loaded.model, backend, cache, CPU)
    run = partial(engine_logits, runner, pool, prompt)
    fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
    assert "1 GpuExperts" in substitutions.counts()
    graphs = PlayedGraphs(loaded.model, backend, cache, CPU, longest=32)
    with Recording() as recording:
        graphs.record(1, Extent(reading=16))
    assert "topk" not in recording.asked  # routers use kernels too
    for row in (Row(CachedTokens([5, 6, 7, 8], pages=[3]), 4), Row(CachedTokens([5, 6], pages=[3], computed=1), 1)):
        shape = graphs.shape_for([row])
        assert shape is not None
        torch.testing.assert_close(graphs.run([row], shape), runner.run([row]), rtol=1e-4, atol=1e-4)
    substitutions.undo()
    loaded.model.set_experts_implementation("eager")
    with pytest.raises(WaitsForTheDevice, match="nonzero"), Recording() as recording:
        graphs.record(1, Extent())
    assert "topk" in recording.asked
