"""Routers in one kernel compared with transformers' own in float64, on random inputs."""

import copy
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssTopKRouter
from transformers.models.granitemoe.modeling_granitemoe import GraniteMoeTopKRouter
from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter

from services.engine.fusion.survey import Observation
from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
from services.engine.fusion.triton.experts import MOST_ROWS
from services.engine.fusion.triton.router import GpuRouter, gpu_router

ERRORS = {torch.float32: 2e-6, torch.bfloat16: 1.2e-2, torch.float16: 1e-3}
HIDDEN, CHOICES = 600, 3
"""Several blocks of a weight's row, and a part of one."""
GROUPED = {"num_local_experts": 16, "n_group": 4, "topk_group": 2}
KINDS = [
    (MixtralTopKRouter, {}),
    (Qwen3MoeTopKRouter, {"norm_topk_prob": False}),
    (GptOssTopKRouter, {}),
    (GraniteMoeTopKRouter, {}),
    (DeepseekV2TopkRouter, {"topk_method": "greedy", "n_group": None, "topk_group": None}),
    (DeepseekV3TopkRouter, {}),
    (DeepseekV3TopkRouter, GROUPED),
]


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


def router_of(kind: Any, fields: dict[str, Any], device: str, dtype: torch.dtype) -> Any:
    config = {
        "num_experts": 19, "num_local_experts": 19, "num_experts_per_tok": CHOICES, "hidden_size": HIDDEN,
        "norm_topk_prob": True, "routed_scaling_factor": 2.5, "n_group": 1, "topk_group": 1,
    }  # fmt: skip
    made = kind(SimpleNamespace(**config | fields)).to(device, dtype).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.1)
        for buffer in made.buffers():
            buffer.normal_(std=0.3)
    return made


class Rounded(GraniteMoeTopKRouter):
    """A router that rounds one product, halfway between two numbers, in the other direction."""

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, shares, chosen = super().forward(hidden_states)
        least = logits.flatten().argmin()  # the expert that no row chooses
        logits.flatten()[least] = (logits.min() * (1 + torch.finfo(hidden_states.dtype).eps)).to(hidden_states.dtype)
        return logits, shares, chosen


def kolibri_router(config: Any) -> nn.Module:
    name = "transformers.models.kolibri1.modeling_kolibri1"
    return pytest.importorskip(name, reason="of transformers newer than 5.17").Kolibri1TopKRouter(config)


def kernel_of(own: nn.Module, rows: Tensor) -> GpuRouter | None:
    return gpu_router(own, Observation((rows,), {}, own(rows)))


def kernel_and_rows(kind: Any, fields: dict[str, Any], device: str, count: int) -> tuple[Any, Any, Tensor]:
    own, rows = router_of(kind, fields, device, torch.float32), torch.randn(count, HIDDEN, device=device)
    kernel = kernel_of(own, rows[:4])
    assert kernel is not None
    return own, kernel, rows


def close(found: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    assert found.shape == exact.shape
    assert float((found.double() - exact).norm() / exact.norm()) <= ERRORS[dtype]


def told(own: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the shares and experts that transformers' router chooses for these logits: with an identity as its
    weight.
    """
    other = copy.deepcopy(own).double()
    other.hidden_dim = logits.shape[1]
    other.weight = nn.Parameter(torch.eye(logits.shape[1], dtype=torch.float64, device=logits.device))
    if hasattr(other, "bias"):
        other.bias.zero_()
    _, shares, chosen = other(logits.double())
    return shares, chosen


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kind", "fields"), KINDS)
@torch.inference_mode()
def test_rows_of_any_number(kind: Any, fields: dict[str, Any], device: str) -> None:
    """Logits are compared with float64. Choices are compared with those that follow from the kernel's own logits.

    Otherwise, rounding would decide between two experts that are nearly equal.
    """
    # The interpreter multiplies the bits of bfloat16 as integers.
    dtypes: list[torch.dtype] = [torch.float32, torch.float16, *([torch.bfloat16] if device == "cuda" else [])]
    dtype = random.choice(dtypes)
    own, rows = router_of(kind, fields, device, dtype), torch.randn(4, HIDDEN, device=device, dtype=dtype)
    if not own(rows)[0].is_floating_point():
        pytest.skip("in transformers 5.17 Granite's router returns experts first, and no kernel takes its place")
    kernel = kernel_of(own, rows)
    assert kernel is not None
    for count in (1, 19):  # one row; several tiles and an incomplete one
        rows = torch.randn(count, HIDDEN, device=device, dtype=dtype)
        logits, shares, chosen = kernel(rows)
        close(logits, copy.deepcopy(own).double()(rows.double())[0].double(), dtype)
        expected, best = told(own, logits)
        close(shares.sort().values, expected.double().sort().values, shares.dtype)
        assert torch.equal(logits.gather(1, chosen).sort().values, logits.gather(1, best).sort().values)
        assert all(len(set(row)) == CHOICES for row in chosen.tolist())
        assert [shares.dtype, chosen.dtype] == [each.dtype for each in own(rows)[1:]]


@pytest.mark.parametrize("device", DEVICES)
@torch.inference_mode()
def test_logits_that_are_rounded_may_be_so_otherwise(device: str) -> None:
    """Even if they are returned in a wider dtype, here float32."""
    own = router_of(Rounded, {}, device, torch.float16)
    assert kernel_of(own, torch.randn(4, HIDDEN, device=device, dtype=torch.float16)) is not None


@pytest.mark.parametrize("device", DEVICES)
@torch.inference_mode()
def test_a_row_chooses_the_same_in_any_company(device: str) -> None:
    _, kernel, rows = kernel_and_rows(MixtralTopKRouter, {}, device, 17)
    together = kernel(rows)
    for row in (0, 8, 16):
        for all_of_them, alone in zip(together, kernel(rows[row : row + 1]), strict=True):
            assert torch.equal(all_of_them[row : row + 1], alone)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # by the interpreter
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("kind", "fields"), [KINDS[0], KINDS[-1]])
@torch.inference_mode()
def test_rows_that_are_no_numbers_choose_experts_that_there_are(kind: Any, fields: dict[str, Any], device: str) -> None:
    _, kernel, rows = kernel_and_rows(kind, fields, device, 4)
    expected = kernel(rows)
    rows[1], rows[2, 5] = torch.nan, torch.inf
    logits, shares, chosen = found = kernel(rows)
    for row in chosen.tolist():
        assert len(set(row) & set(range(logits.shape[1]))) == CHOICES
    assert shares[1].isnan().all()
    for before, after in zip(expected, found, strict=True):
        assert torch.equal(before[[0, 3]], after[[0, 3]])


@pytest.mark.parametrize("device", DEVICES)
@torch.inference_mode()
def test_more_rows_are_computed_by_the_models_own(device: str) -> None:
    own, kernel, rows = kernel_and_rows(GptOssTopKRouter, {}, device, MOST_ROWS + 1)
    assert all(torch.equal(*pair) for pair in zip(kernel(rows), own(rows), strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        # Groups are ranked by their best expert only.
        (DeepseekV2TopkRouter, GROUPED | {"topk_method": "group_limited_greedy", "num_experts": 16}, "no rule"),
        # Shares are sigmoids, but experts are chosen by the logits.
        (kolibri_router, {}, "no rule"),
        # The number of groups is not a power of two.
        (DeepseekV3TopkRouter, {"num_local_experts": 24, "n_group": 3, "topk_group": 2}, "groups of another number"),
    ],
)
@torch.inference_mode()
def test_routers_that_do_something_else_are_left_alone(
    kind: Any, fields: dict[str, Any], reason: str, device: str
) -> None:
    own = router_of(kind, fields, device, torch.float32)
    with pytest.raises(ValueError, match=reason):
        kernel_of(own, torch.randn(4, HIDDEN, device=device))
