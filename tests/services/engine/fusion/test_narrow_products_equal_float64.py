"""Products with 8-bit weights, on random inputs."""

import random
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import load_language_model
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.model import narrow_weights
from services.engine.narrow.numbers import NarrowKind
from services.engine.native.linear import Gate
from tests.services.engine.kernel_devices import DEVICES, shorten
from tests.tiny.language_models import write_checkpoint

pytest.importorskip("triton")
from services.engine.fusion.triton.few_rows import MOST_ROWS, Tile, tile_for
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.fusion.triton.narrow import GpuNarrowLinear
from services.engine.fusion.triton.norm import GpuNorm
from services.engine.fusion.triton.substitution import fuse_on_gpu, replace_narrow
from services.engine.generation.attention.triton.backend import TritonAttention

PAGE = 16
ERRORS = {torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
KINDS: list[NarrowKind] = ["int8", "fp8_e4m3"]


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


def narrow(device: str, dtype: torch.dtype, width: int, units: list[int], bias: bool, kind: NarrowKind) -> Any:
    """Returns 8-bit layers, and their exact weights and biases concatenated in float64."""
    own = [NarrowLinear(nn.Linear(width, count, bias, dtype=dtype), kind, torch.device(device)) for count in units]
    weights = torch.cat([one.numbers.double() * one.scales.double().unsqueeze(1) for one in own])
    biases = torch.cat([one.bias.detach().double() for one in own if one.bias is not None]) if bias else None
    return own, weights, biases


def close(found: Tensor, exact: Tensor) -> None:
    assert float((found.cpu().double() - exact.cpu()).norm() / exact.norm()) <= ERRORS[found.dtype]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("width", "units", "bias", "with_norm", "residual", "dtype"),
    [
        (48, [7, 9, 3], True, True, False, torch.float32),
        (4112, [5], False, True, True, torch.float32),  # several blocks, and an incomplete one
        (64, [8], True, False, True, torch.float16),
        (4096, [4, 2], False, False, False, torch.bfloat16),
    ],
)
def test_products_of_one_row(
    device: str,
    kind: NarrowKind,
    width: int,
    units: list[int],
    bias: bool,
    with_norm: bool,
    residual: bool,
    dtype: torch.dtype,
) -> None:
    with torch.inference_mode():
        own, weights, biases = narrow(device, dtype, width, units, bias, kind)
        row = torch.randn(1, width, device=device, dtype=dtype)
        norm = GpuNorm(torch.rand(width, device=device), 1e-3) if with_norm else None
        more = torch.randn(1, sum(units), device=device, dtype=dtype) if residual else None
        given = row.double()
        if norm is not None:
            given = given * (given.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * norm.scales.double()
        exact = functional.linear(given, weights, biases)
        found = GpuNarrowLinear(own).of_row(row, norm=norm, residual=more)
        close(found, exact if more is None else exact + more.double())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_gated_rows(device: str, kind: NarrowKind) -> None:
    with torch.inference_mode():
        pair, weights, biases = narrow(device, torch.float32, 32, [30, 30], True, kind)
        down, *_ = narrow(device, torch.float32, 32, [8], False, kind)
        mlp, rows = GpuMlp(GpuNarrowLinear(pair), GpuNarrowLinear(down), Gate.SILU), torch.randn(3, 32, device=device)
        first, second = functional.linear(rows.double(), weights, biases).chunk(2, dim=1)
        exact = functional.silu(first) * second
        close(mlp.gated(rows), exact)
        close(mlp.gated(rows[1:2]), exact[1:2])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "width", "units", "bias", "tile", "dtype"),
    [
        (2, 64, [40, 30], True, Tile(16, 64, 32, 2), torch.float16),
        (19, 208, [33], False, Tile(16, 32, 32, 4), torch.float32),  # the last split has only an incomplete block
        (5, 96, [16, 16, 7], True, None, torch.float32),
        (40, 128, [130], False, Tile(32, 64, 64, 1), torch.bfloat16),
        (18, 128, [65], False, Tile(16, 64, 64, 2, paired=False), torch.float16),
        (MOST_ROWS + 1, 32, [9], True, None, torch.bfloat16),
    ],
)
def test_products_of_rows(
    device: str,
    kind: NarrowKind,
    rows: int,
    width: int,
    units: list[int],
    bias: bool,
    tile: Tile | None,
    dtype: torch.dtype,
) -> None:
    if device == "cpu" and dtype is torch.bfloat16 and rows <= MOST_ROWS:
        dtype = torch.float16  # the interpreter multiplies the bits of bfloat16 as integers
    with torch.inference_mode():
        own, weights, biases = narrow(device, dtype, width, units, bias, kind)
        linear, given = GpuNarrowLinear(own), torch.randn(rows, width, device=device, dtype=dtype)
        exact = functional.linear(given.double(), weights, biases)
        residual = torch.randn(rows, sum(units), device=device, dtype=dtype)
        sums = exact + residual.double()
        if tile is None:
            close(linear(given.unsqueeze(0))[0], exact)
            assert linear.add_to(residual, given) is residual
        else:
            close(linear.few_rows(given, tile=tile), exact)
            linear.few_rows(given, residual=residual, tile=tile)  # the second run does not depend on the first
        close(residual, sums)


def test_tiles_cover_processors_and_have_room() -> None:
    for rows, units, width in product((2, 16, 17, 64, 65, 256), (1024, 4096, 28_672), (2048, 4096, 14_336)):
        tile = tile_for(rows, units, width, 132)
        assert tile.splits * tile.block <= width / 2
        programs = -(-units // tile.units) * tile.splits
        assert programs >= 132 or tile.splits == 8
        weights, inputs = tile.units * tile.block, 2 * tile.rows * tile.block
        assert tile.stages * (weights + inputs) <= 200 << 10


@pytest.mark.parametrize("device", DEVICES)
def test_fused_layers_compute_what_the_plain_ones_do(device: str, llama_folder: Path) -> None:
    place, prompt = torch.device(device), torch.randint(300, (1, 8))  # in chunks of seven tokens and of one
    kind = random.choice(KINDS)
    loaded = load_language_model(str(llama_folder), revision=None, device=place, dtype="float32")
    shorten(loaded.model)
    loaded.model.lm_head.to(place)
    narrow_weights(loaded.model, kind, place)
    cache, pool = KVCache(probe_layouts(loaded), 8, PAGE, place, by_token=True), PagePool(8, PAGE)
    backend = TritonAttention(place)
    run = partial(engine_logits, ModelRunner(loaded.model, backend, cache, place), pool, prompt)
    own, substitutions = model_logits(loaded, prompt), Substitutions(loaded.model)
    fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
    assert substitutions.counts() == "1 GpuDecoderLayer, 1 GpuLinear, 1 GpuNorm, 1 GpuRotary"
    assert not any(isinstance(module, NarrowLinear) for module in loaded.model.modules())
    torch.testing.assert_close(run(), own, rtol=1e-3, atol=1e-4)
    substitutions.undo()
    assert torch.equal(model_logits(loaded, prompt), own)


@pytest.mark.parametrize("device", DEVICES)
def test_layers_of_unknown_models_have_kernels_by_themselves(device: str, tmp_path: Path) -> None:
    place = torch.device(device)
    folder = write_checkpoint(tmp_path, "gpt_oss")
    loaded = load_language_model(str(folder), revision=None, device=place, dtype="float32")
    narrow_weights(loaded.model, "int8", place)
    prompt, substitutions = torch.randint(300, (1, 5)), Substitutions(loaded.model)
    own = model_logits(loaded, prompt)
    replace_narrow(substitutions, loaded.model)
    assert substitutions.counts() == "3 GpuExperts, 12 GpuNarrowLinear"
    torch.testing.assert_close(model_logits(loaded, prompt), own, rtol=1e-3, atol=1e-4)
    substitutions.undo()
    assert torch.equal(model_logits(loaded, prompt), own)
