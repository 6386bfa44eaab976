"""Kernels for experts compared with transformers' own loop in float64, on random inputs."""

import copy
import random
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.mixtral.modeling_mixtral import MixtralExperts
from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHExperts

from services.engine.experts import is_experts
from services.engine.narrow.experts import NarrowExperts
from services.engine.narrow.numbers import NarrowKind
from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
from services.engine.fusion.triton.experts import MOST_ROWS, GpuExperts, tile_for

ERRORS = {torch.float32: 2e-6, torch.bfloat16: 1.2e-2, torch.float16: 1e-3}
EXPERTS, CHOICES, HIDDEN, INNER = 5, 2, 48, 40
CONFIG: Any = SimpleNamespace(
    num_local_experts=EXPERTS, n_routed_experts=EXPERTS, hidden_size=HIDDEN, intermediate_size=INNER,
    moe_intermediate_size=INNER, moe_latent_size=None, hidden_act="silu", mlp_hidden_act="relu2", swiglu_alpha=1.702,
    swiglu_limit=7.0, _experts_implementation="eager",
)  # fmt: skip
KINDS: list[NarrowKind | None] = [None, "int8", "fp8_e4m3"]


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


def experts_of(kind: Any, device: str, dtype: torch.dtype) -> Any:
    made = kind(CONFIG).to(device, dtype).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


def exact_of(made: Any) -> Any:
    """Returns the same experts in float64; those of 8-bit experts with the rounded weights."""
    if not isinstance(made, NarrowExperts):
        return copy.deepcopy(made).double()
    own = copy.deepcopy(made.own).double()
    wide = [each.numbers.double() * each.scales.double().unsqueeze(-1) for each in (made.first, made.last)]
    NarrowExperts.lend(SimpleNamespace(own=own), *wide)  # type: ignore[arg-type]
    return own


def choices(rows: int, device: str, among: int = EXPERTS) -> tuple[Tensor, Tensor]:
    chosen = torch.rand(rows, among, device=device).topk(CHOICES).indices
    return chosen, torch.rand(rows, CHOICES, device=device)


def close(found: Tensor, exact: Tensor) -> None:
    assert found.shape == exact.shape
    assert float((found.double() - exact).norm() / exact.norm()) <= ERRORS[found.dtype]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("narrow", KINDS)
@pytest.mark.parametrize("kind", [MixtralExperts, GptOssExperts, NemotronHExperts])
@torch.inference_mode()
def test_rows_of_any_number(kind: type[nn.Module], narrow: NarrowKind | None, device: str) -> None:
    """With the gate in the kernel, with a family's own gate over transposed weights with biases, and without a gate."""
    # The interpreter multiplies the bits of bfloat16 as integers.
    dtype = random.choice([torch.float32, torch.float16, *([torch.bfloat16] if device == "cuda" else [])])
    own = experts_of(kind, device, dtype)
    if narrow:
        own = NarrowExperts(own, narrow, torch.device(device))
    exact, kernels = exact_of(own), GpuExperts(own)
    for count in (1, 2, 9):  # one row; fewer pairs than experts; more pairs than experts
        rows = torch.randn(count, HIDDEN, device=device, dtype=dtype)
        chosen, shares = choices(count, device)
        close(kernels(rows, chosen, shares.to(dtype)), exact(rows.double(), chosen, shares.to(dtype).double()))


@pytest.mark.parametrize("device", DEVICES)
@torch.inference_mode()
def test_only_the_weights_of_chosen_experts_are_read(device: str) -> None:
    """Other experts' weights are NaN. All rows choose the same experts, more rows than a tile has."""
    own = experts_of(MixtralExperts, device, torch.float32)
    own.gate_up_proj[2:], own.down_proj[2:] = torch.nan, torch.nan
    exact = exact_of(own)
    for count in (1, 2, 40):
        rows = torch.randn(count, HIDDEN, device=device)
        chosen, shares = choices(count, device, among=2)
        close(GpuExperts(own)(rows, chosen, shares), exact(rows.double(), chosen, shares.double()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("narrow", [None, "int8"])
@torch.inference_mode()
def test_more_rows_are_computed_by_the_models_own(narrow: NarrowKind | None, device: str) -> None:
    own = experts_of(GptOssExperts, device, torch.float32)
    if narrow:
        own = NarrowExperts(own, narrow, torch.device(device))
    rows, (chosen, shares) = torch.randn(MOST_ROWS + 1, HIDDEN, device=device), choices(MOST_ROWS + 1, device)
    assert torch.equal(GpuExperts(own)(rows, chosen, shares), own(rows, chosen, shares))


def test_experts_of_which_there_is_only_a_part_are_left_alone() -> None:
    class Part(nn.Parameter):
        pass

    own = experts_of(MixtralExperts, "cpu", torch.float32)
    assert is_experts(own)
    own.down_proj = Part(own.down_proj.detach())
    assert not is_experts(own)


def test_tiles_cover_processors_and_have_room() -> None:
    for mean, gated, narrow in product((0.1, 8, 9, 25, 500), (True, False), (True, False)):
        for slots, units, width in ((2, 14_336, 4096), (2, 4096, 14_336), (8, 768, 2048), (128, 2048, 768)):
            for row_bytes in (2, 4):
                tile = tile_for(mean, slots, units, width, row_bytes, 132, gated=gated, narrow=narrow)
                assert slots * -(-units // tile.units) >= 132
                weights = (1 + gated) * tile.units * (1 if narrow else row_bytes)
                assert tile.stages * (weights + tile.rows * row_bytes) * tile.block <= 200 << 10
