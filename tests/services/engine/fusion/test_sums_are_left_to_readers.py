"""Split-K products whose parts the next kernels add up give the same bits, with fewer waits."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import load_language_model
from tests.drawn import drawn
from tests.services.engine.kernel_devices import DEVICES, INTERPRETED, shorten
from tests.tiny.language_models import write_checkpoint

pytest.importorskip("triton")
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.few_rows import FewRows, Tile
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.norm import GpuNorm
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention

CPU = torch.device("cpu")
SPLIT, WHOLE = Tile(16, 16, 16, 2, ahead=16), Tile(16, 16, 16, 1)
PROMPTS = torch.tensor([[7, 9, 40], [8, 3, 41], [5, 5, 5]])


class Decoding:
    """A model of two layers with kernels, for steps of up to 16 tokens."""

    def __init__(self, folder: Path) -> None:
        self.loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32")
        self.model: Any = self.loaded.model
        layers = self.model.model.layers[:2]
        shorten(self.model)
        self.model.model.layers, self.model.config.num_hidden_layers = layers, 2
        cache, pool = KVCache(probe_layouts(self.loaded), 8, PAGE_SIZE, CPU, by_token=True), PagePool(8, PAGE_SIZE)
        backend = TritonAttention(CPU)
        self._runner, self._pool = ModelRunner(self.model, backend, cache, CPU), pool
        self.own = model_logits(self.loaded, PROMPTS)
        run = partial(engine_logits, self._runner, pool, PROMPTS[:1])
        fuse_on_gpu(Substitutions(self.model), self.model, backend, run, self.loaded.context_tokens)
        self.hidden = self.model.config.hidden_size
        self.layers = [layer for layer in self.model.model.layers if isinstance(layer, GpuDecoderLayer)]
        self._sequences = [CachedTokens(prompt.tolist()) for prompt in PROMPTS]
        for sequence in self._sequences:
            pool.grow(sequence.pages, len(sequence.token_ids))

    def split(self, tile: Callable[[GpuLinear], Tile]) -> None:
        """Sets the tiles for products of up to 16 rows."""
        for linear in (module for module in self.model.modules() if isinstance(module, GpuLinear)):
            linear.few_rows = FewRows(linear.weight, None, linear.bias, {16: tile(linear)})

    def leave(self, *, left: bool) -> None:
        for layer in self.layers:
            layer.unsummed_tiles = frozenset({16} if left else ())

    def step(self) -> Tensor:
        """Returns the logits behind the prompts, all of whose tokens but the last were read in one step."""
        for sequence in self._sequences:
            sequence.computed = 0
        self._runner.run([Row(sequence, 2) for sequence in self._sequences])
        for sequence in self._sequences:
            sequence.computed = 2
        return self._runner.run([Row(sequence, 1, decodes=True) for sequence in self._sequences])


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often a product was left unsummed, by its number of outputs."""
    calls, unsummed = Counter[int](), GpuLinear.unsummed

    def counted(linear: GpuLinear, rows: Tensor) -> Tensor:
        calls[linear.out_features] += 1
        return unsummed(linear, rows)

    monkeypatch.setattr(GpuLinear, "unsummed", counted)
    return calls


@pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
@pytest.mark.parametrize("name", drawn(["llama", "qwen3"], 1))
def test_steps_have_the_same_bits(name: str, tmp_path: Path, left: Counter[int]) -> None:
    decoding = Decoding(write_checkpoint(tmp_path, name))
    decoding.split(lambda _: SPLIT)
    summed = decoding.step()
    torch.testing.assert_close(summed, decoding.own, rtol=1e-3, atol=1e-4)
    assert not left
    decoding.leave(left=True)
    assert torch.equal(decoding.step(), summed)
    assert left == {decoding.hidden: 2 * 3}  # all but the last of the step, which no fused norm reads


@pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
def test_what_is_not_split_is_as_before(tmp_path: Path, left: Counter[int]) -> None:
    decoding = Decoding(write_checkpoint(tmp_path, "llama"))
    decoding.leave(left=True)
    whole = decoding.layers[0]._mlp.down
    decoding.split(lambda linear: WHOLE if linear is whole else SPLIT)
    torch.testing.assert_close(decoding.step(), decoding.own, rtol=1e-3, atol=1e-4)
    assert left == {decoding.hidden: 2}  # those of the other layer


@pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
def test_norms_behind_products_are_given_sums(tmp_path: Path, left: Counter[int]) -> None:
    decoding = Decoding(write_checkpoint(tmp_path, "gemma2"))
    decoding.split(lambda _: SPLIT)
    decoding.leave(left=True)
    torch.testing.assert_close(decoding.step(), decoding.own, rtol=1e-3, atol=1e-4)
    assert not left


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_of_a_sum_is_that_of_the_product_added_before(device: str, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        linear = torch.nn.Linear(520, 48, bias=False, device=device, dtype=dtype)
        product = FewRows(linear.weight, None, None, {16: Tile(16, 32, 64, 4, ahead=64)})
        rows, residual = (torch.randn(5, width, device=device).to(dtype) for width in (520, 48))
        norm = GpuNorm(torch.rand(48, device=device), 1e-3)
        total, normalized = norm.of_sum(residual, product.unsummed(rows))
        exact = product(rows, residual=residual.clone())
        assert torch.equal(total, exact)
        torch.testing.assert_close(normalized, norm(exact), rtol=1e-2 if dtype is torch.bfloat16 else 1e-6, atol=1e-6)


def test_what_a_norm_has_kept_is_for_that_very_tensor() -> None:
    norm, given, kept = GpuNorm(torch.ones(4), 0.0), torch.ones(1, 4), torch.zeros(1, 4)
    norm.keep(given, kept)
    assert norm.kept(given.clone()) is None
    assert norm.kept(given) is None
    norm.keep(given, kept)
    assert norm.kept(given) is kept
    assert norm.kept(given) is None


@pytest.mark.parametrize("reason", ["", "bias", "adapters", "whole", "more rows"])
def test_sums_are_left_where_nothing_else_is_added(reason: str) -> None:
    linear = GpuLinear([torch.nn.Linear(64, 16, bias=reason == "bias")])
    linear.few_rows = FewRows(linear.weight, None, linear.bias, {16: WHOLE if reason == "whole" else SPLIT})
    active: Any = SimpleNamespace(active=True)
    linear.low_rank = active if reason == "adapters" else None
    assert linear.is_split(17 if reason == "more rows" else 3) == (not reason)
