"""Kernels between a layer's products, and products of a single row, on random inputs."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.attention.backend import AttentionCall, AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import load_language_model
from services.engine.native.linear import Gate
from tests.services.engine.kernel_devices import DEVICES, shorten
from tests.tiny.language_models import CONFIGS, write_checkpoint

pytest.importorskip("triton")
from services.engine.fusion.triton.attention import GpuAttention
from services.engine.fusion.triton.likeliest import LikeliestTokens
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.fusion.triton.norm import GpuNorm
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention

PAGE = 16
ERRORS = {torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 6e-4}
"""Greatest norm of the difference, as a share of the norm of the exact result."""
KINDS = {
    "llama": "3 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary",
    "qwen3": "3 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary",
    "gemma3": "7 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm",
    "gemma2": "3 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary",
    "mistral": "3 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary",
    "mixtral": "3 GpuAttention, 3 GpuExperts, 1 GpuLinear, 7 GpuNorm, 1 GpuRotary, 3 GpuRouter",
    "gpt_oss": "3 GpuExperts, 1 GpuLinear, 7 GpuNorm, 1 GpuRotary, 3 GpuRouter",
    "gpt2": "1 GpuLinear",
    "wide_llama": "2 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary",
}


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


def close(found: Tensor, exact: Tensor) -> None:
    assert float((found.cpu().double() - exact.cpu()).norm() / exact.norm()) <= ERRORS[found.dtype]


def linears(device: str, dtype: torch.dtype, width: int, units: list[int], bias: bool) -> list[nn.Linear]:
    return [nn.Linear(width, count, bias, device=device, dtype=dtype) for count in units]


def normalized(rows: Tensor, norm: GpuNorm) -> Tensor:
    return rows * (rows.square().mean(-1, keepdim=True) + norm.epsilon).rsqrt() * norm.scales.double()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("width", "units", "bias", "with_norm", "residual", "dtype"),
    [
        (40, [7, 9, 3], True, True, False, torch.float32),
        (4104, [5], False, True, True, torch.float32),  # several blocks, and an incomplete one
        (64, [8], True, False, True, torch.float16),
        (4096, [4, 2], False, False, False, torch.bfloat16),
    ],
)
def test_products_of_one_row(
    device: str, width: int, units: list[int], bias: bool, with_norm: bool, residual: bool, dtype: torch.dtype
) -> None:
    with torch.inference_mode():
        own = linears(device, dtype, width, units, bias)
        merged, row = GpuLinear(own), torch.randn(1, width, device=device, dtype=dtype)
        norm = GpuNorm(torch.rand(width, device=device), 1e-3) if with_norm else None
        more = torch.randn(1, sum(units), device=device, dtype=dtype) if residual else None
        given = normalized(row.double(), norm) if norm else row.double()
        exact = torch.cat(
            [functional.linear(given, one.weight.double(), one.bias.double() if bias else None) for one in own], dim=1
        )
        close(merged.of_row(row, norm=norm, residual=more), exact if more is None else exact + more.double())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("gate", "name"),
    [
        (Gate.SILU, "silu"),
        (Gate.GELU_TANH, "gelu_pytorch_tanh"),
        (Gate.GELU, "gelu"),
        (Gate.QUICK_GELU, "quick_gelu"),
        (Gate.RELU, "relu"),
    ],
)
def test_gated_rows(device: str, gate: Gate, name: str) -> None:
    with torch.inference_mode():
        one, other, down = linears(device, torch.float32, 24, [30, 30, 1], bias=True)
        mlp, rows = GpuMlp(GpuLinear([one, other]), GpuLinear([down]), gate), torch.randn(3, 24, device=device) * 9
        norm = GpuNorm(torch.rand(24, device=device) * 9, 1e-6)
        first, second = (
            functional.linear(normalized(rows.double(), norm), each.weight.double(), each.bias.double())
            for each in (one, other)
        )
        exact = ACT2FN[name](first) * second
        close(mlp.gated(rows, norm), exact)
        close(mlp.gated(rows[1:2], norm), exact[1:2])


@pytest.mark.parametrize("device", DEVICES)
def test_norms_with_a_sum_or_a_copy(device: str) -> None:
    with torch.inference_mode():
        rows, norm = torch.randn(3, 48, device=device), GpuNorm(torch.rand(48, device=device), 1e-2)
        exact = normalized(rows.double(), norm)
        close(norm(rows), exact)
        close(norm(rows, rows), exact + rows.double())
        found, copy = norm.with_copy(rows)
        close(found, exact)
        assert torch.equal(copy, rows)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "rotated", "with_norms"),
    [(6, 2, 16, 16, False), (3, 1, 20, 12, True), (2, 2, 16, 8, False)],
)
def test_heads_are_normalized_rotated_and_stored(
    device: str, heads: int, kv_heads: int, width: int, rotated: int, with_norms: bool
) -> None:
    with torch.inference_mode():
        place = torch.device(device)
        cache = KVCache({0: LayerLayout(heads, kv_heads, width, width, torch.float32)}, 4, PAGE, place, by_token=True)
        slots, pages = torch.tensor([33, -1, 34], device=device), torch.tensor([2], device=device)
        plan = TritonAttention(place).plan(AttentionBatch([RowSpan(0, 3, 3, pages)], slots, cache))
        scales = [torch.rand(width, device=device) for _ in range(2)]
        output, *_ = linears(device, torch.float32, 8, [8], bias=False)
        own = GpuAttention(
            AttentionLayer(0, 0.2), GpuLinear([output]), GpuLinear([output]), rotated,
            (scales[0], scales[1], 1e-2) if with_norms else (),
        )  # fmt: skip
        packed = torch.randn(3, (heads + 2 * kv_heads) * width, device=device)
        angles = torch.randn(1, 3, rotated, device=device), torch.randn(1, 3, rotated, device=device)
        split = packed.double().split([heads * width, kv_heads * width, kv_heads * width], dim=1)
        queries, keys, values = (part.unflatten(1, (-1, width)) for part in split)
        if with_norms:
            queries, keys = (
                normalized(part, GpuNorm(each, 1e-2)) for part, each in zip((queries, keys), scales, strict=True)
            )
        queries, keys = (turned(part, angles) for part in (queries, keys))
        own.attended(packed, angles, AttentionCall(TritonAttention(place), plan))
        close(packed[:, : heads * width], queries.flatten(1))
        found_keys, found_values = cache.read(0, pages, 3)
        close(found_keys[1:], keys[[0, 2]])
        close(found_values[1:], values[[0, 2]])
        assert not cache.keys(0)[:2].any()
        assert not found_keys[0].any()


def turned(heads: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Returns `[T, heads, width]` rotated by transformers' formula."""
    cosines, sines = (angle[0].double().unsqueeze(1) for angle in angles)
    rotated, rest = heads[..., : cosines.shape[-1]], heads[..., cosines.shape[-1] :]
    low, high = rotated.chunk(2, dim=-1)
    return torch.cat([rotated * cosines + torch.cat([-high, low], dim=-1) * sines, rest], dim=-1)


class Fused:
    """A model behind its runner, whose layers use kernels."""

    def __init__(self, folder: Path, device: str, prompt: Tensor, before: Any = None) -> None:
        place = torch.device(device)
        self.loaded = load_language_model(str(folder), revision=None, device=place, dtype="float32")
        if before is not None:
            before(self.loaded.model)
        cache, pool = KVCache(probe_layouts(self.loaded), 8, PAGE, place, by_token=True), PagePool(8, PAGE)
        backend = TritonAttention(place)
        self.run = partial(engine_logits, ModelRunner(self.loaded.model, backend, cache, place), pool, prompt)
        self.own, self.substitutions = model_logits(self.loaded, prompt), Substitutions(self.loaded.model)
        fuse_on_gpu(self.substitutions, self.loaded.model, backend, self.run, self.loaded.context_tokens)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("device", DEVICES[1:])
def test_models_compute_their_own_logits(device: str, name: str, tmp_path: Path) -> None:
    prompt = torch.randint(300, (1, 8))  # in chunks of seven tokens and of one
    fused = Fused(write_checkpoint(tmp_path, name), device, prompt)
    assert fused.substitutions.counts() == KINDS[name]
    torch.testing.assert_close(fused.run(), fused.own, rtol=1e-3, atol=1e-4)
    fused.substitutions.undo()
    assert torch.equal(model_logits(fused.loaded, prompt), fused.own)


@pytest.mark.parametrize("device", DEVICES[:1])
def test_a_shortened_model_computes_its_own_logits(device: str, llama_folder: Path) -> None:
    prompt = torch.randint(300, (1, 8))
    fused = Fused(llama_folder, device, prompt, shorten)
    assert fused.substitutions.counts() == "1 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary"
    torch.testing.assert_close(fused.run(), fused.own, rtol=1e-3, atol=1e-4)
    fused.substitutions.undo()
    assert torch.equal(model_logits(fused.loaded, prompt), fused.own)


@pytest.mark.parametrize("device", DEVICES[1:])
def test_a_layer_that_computes_something_else_is_left_alone(device: str, llama_folder: Path) -> None:
    def change(model: Any) -> None:
        own = model.model.layers[0].mlp.forward
        model.model.layers[0].mlp.forward = lambda hidden: 2 * own(hidden)

    fused = Fused(llama_folder, device, torch.randint(300, (1, 8)), change)
    kinds = [type(layer).__name__ for layer in fused.loaded.model.model.layers]
    assert kinds == ["LlamaDecoderLayer", "GpuDecoderLayer", "GpuDecoderLayer"]
    torch.testing.assert_close(fused.run(), fused.own, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_the_likeliest_token_is_the_first_of_each_row(device: str) -> None:
    logits = torch.randn(6, 9001, dtype=torch.float32, device=device)
    logits[1, [4200, 17, 8999]] = 50.0
    logits[2] = -3.0
    logits[3, 5000], logits[4, 0] = float("nan"), float("inf")
    logits[5, :9000] = float("-inf")
    likeliest, tokens = LikeliestTokens(6, 9001, torch.device(device)), torch.zeros(6, dtype=torch.int64, device=device)
    for _ in range(2):  # the second run does not depend on the first
        likeliest.find(logits, tokens)
        assert tokens.tolist() == [int(logits[0].argmax()), 17, 0, -1, -1, 9000]
