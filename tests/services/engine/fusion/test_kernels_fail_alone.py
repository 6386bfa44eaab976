"""Kernels of one kind fail, when they are made or launched: kernels of other kinds stay in use."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.building.verified_runner import accelerate_and_verify
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import load_language_model
from services.engine.narrow.model import narrow_weights
from tests.services.engine.kernel_devices import INTERPRETED, shorten
from tests.tiny.language_models import write_checkpoint

pytest.importorskip("triton")
from services.engine.fusion.triton import attention, experts, linear, mlp, rotary, router
from services.engine.fusion.triton.substitution import fuse_on_gpu, replace_narrow
from services.engine.generation.attention.triton.backend import TritonAttention

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")


class Refused(Exception):
    """Stands for any error of a compiler."""


class BrokenKernel:
    """A kernel that fails when it is launched, since that compiles it."""

    def __getitem__(self, _grid: Any) -> Any:
        raise Refused("out of registers")


def not_made(*_: Any) -> Any:
    raise Refused("an unusual activation")


BROKEN = BrokenKernel()
REST = "1 GpuLinear, 3 GpuNorm, 1 GpuRotary"
CASES = [
    ("llama", mlp, "activation_of", f"1 GpuAttention, {REST}", "GpuDecoderLayer GpuMlp"),
    ("llama", mlp, "gate_row", f"1 GpuAttention, {REST}", "GpuDecoderLayer GpuMlp"),
    ("llama", attention, "rotate_and_store", "1 GpuLinear, 1 GpuMlp, 3 GpuNorm, 1 GpuRotary",
     "GpuDecoderLayer GpuAttention"),
    ("llama", rotary, "look_up", "1 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm", "GpuRotary"),
    ("llama", linear, "multiply_row", "1 GpuDecoderLayer, 1 GpuNorm, 1 GpuRotary", "GpuLinear"),
    ("mixtral", router, "choose_experts", f"1 GpuAttention, 1 GpuExperts, {REST}", "GpuRouter"),
    ("mixtral", experts, "multiply_chosen", f"1 GpuAttention, {REST}, 1 GpuRouter", "GpuExperts"),
]  # fmt: skip
"""Model, module and name that are broken, the modules that stay fused, and the kinds that the log names."""


@pytest.mark.parametrize(("name", "module", "broken", "kept", "told"), CASES, ids=[case[2] for case in CASES])
def test_what_fails_is_left_out_alone(
    name: str,
    module: Any,
    broken: str,
    kept: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    loaded = load_language_model(str(write_checkpoint(tmp_path, name)), revision=None, device=CPU, dtype="float32")
    shorten(loaded.model)
    if name == "mixtral":
        narrow_weights(loaded.model, "int8", CPU)  # substitution looks for 8-bit experts twice
    prompt = torch.tensor([[7, 9, 40, 3, 21, 11, 5, 60, 2]])  # in chunks of seven tokens and of two
    own, substitutions = model_logits(loaded, prompt), Substitutions(loaded.model)
    cache, pool = KVCache(probe_layouts(loaded), 4, PAGE_SIZE, CPU, by_token=True), PagePool(4, PAGE_SIZE)
    backend = TritonAttention(CPU)
    run = partial(engine_logits, ModelRunner(loaded.model, backend, cache, CPU), pool, prompt)
    monkeypatch.setattr(module, broken, not_made if broken == "activation_of" else BROKEN)
    with caplog.at_level(logging.WARNING):
        fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
        replace_narrow(substitutions, loaded.model)
    assert substitutions.counts() == kept
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == told.split()
    assert all("Refused: " in record.getMessage() for record in caplog.records)
    torch.testing.assert_close(run(), own, rtol=1e-3, atol=1e-4)


def test_experts_that_are_wrong_for_one_row_are_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_language_model(str(write_checkpoint(tmp_path, "mixtral")), revision=None, device=CPU, dtype="float32")
    shorten(loaded.model)
    narrow_weights(loaded.model, "int8", CPU)
    cache, pool = KVCache(probe_layouts(loaded), 4, PAGE_SIZE, CPU, by_token=True), PagePool(4, PAGE_SIZE)
    backend, forward, substitutions = TritonAttention(CPU), experts.GpuExperts.forward, Substitutions(loaded.model)
    run = partial(
        engine_logits, ModelRunner(loaded.model, backend, cache, CPU), pool, torch.tensor([[7, 9, 40, 3, 21]])
    )

    def wrong(made: Any, *given: torch.Tensor) -> torch.Tensor:
        return forward(made, *given) * (2 if len(given[0]) == 1 else 1)

    monkeypatch.setattr(experts.GpuExperts, "forward", wrong)
    with caplog.at_level(logging.WARNING):
        fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
        replace_narrow(substitutions, loaded.model)
    assert "GpuExperts" not in substitutions.counts()
    (record,) = caplog.records
    assert record.getMessage().startswith("GpuExperts is left out for NarrowExperts")
    assert "for a single row" in record.getMessage()


def test_a_kernel_of_one_row_that_fails_takes_out_all_at_the_latest_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_language_model(str(write_checkpoint(tmp_path, "llama")), revision=None, device=CPU, dtype="float32")
    shorten(loaded.model)
    cache, pool = KVCache(probe_layouts(loaded), 8, PAGE_SIZE, CPU, by_token=True), PagePool(8, PAGE_SIZE)
    backend = TritonAttention(CPU)
    runner = ModelRunner(loaded.model, backend, cache, CPU)
    monkeypatch.setattr(linear, "multiply_row", BROKEN)
    accelerate_and_verify(loaded, runner, backend, pool)
    one = torch.tensor([[5]])
    torch.testing.assert_close(engine_logits(runner, pool, one), model_logits(loaded, one), rtol=1e-3, atol=1e-4)
