import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from services.engine.generation.requests.request import SamplingParameters
from services.engine.generation.sampling.truncation import truncate
from tests.drawn import drawn

PARAMETERS = [
    SamplingParameters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p)
    for temperature in (0.3, 1.0, 2.5)
    for top_k in (0, 1, 5, 40, 10_000)
    for top_p in (1.0, 0.95, 0.5, 1e-6)
    for min_p in (0.0, 0.05, 1.0)
    for typical_p in (1.0, 0.9, 0.2, 1e-6)
]


def of_generate(logits: Tensor, p: SamplingParameters) -> Tensor:
    """Returns which tokens transformers' own warpers keep, in the order of `generate`.

    In float64, so that the rounding of a sum decides nothing.
    """
    warpers = LogitsProcessorList()
    if p.top_k:
        warpers.append(TopKLogitsWarper(p.top_k))
    if p.top_p < 1:
        warpers.append(TopPLogitsWarper(p.top_p))
    if p.min_p:
        warpers.append(MinPLogitsWarper(p.min_p))
    if p.typical_p < 1:
        warpers.append(TypicalLogitsWarper(p.typical_p))
    scaled = TemperatureLogitsWarper(p.temperature)(None, logits).double()
    return warpers(None, scaled).isfinite()


def of_ours(logits: Tensor, parameters: list[SamplingParameters]) -> Tensor:
    temperature = torch.tensor([p.temperature for p in parameters]).unsqueeze(1)
    return truncate(logits / temperature, parameters).isfinite()


@pytest.mark.parametrize("vocabulary", drawn([1, 2, 7, 64, 256, 257, 1000], 4))
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_the_same_tokens_are_kept_row_by_row_in_one_batch(vocabulary: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(len(PARAMETERS), vocabulary, generator=generator) * spread
    ours = of_ours(logits, PARAMETERS)
    for i, p in enumerate(PARAMETERS):
        assert torch.equal(ours[i], of_generate(logits[i : i + 1], p)[0]), p


def test_extreme_and_forbidden_logits_change_nothing() -> None:
    logits = torch.randn(len(PARAMETERS), 50, generator=torch.Generator().manual_seed(1))
    logits[:, 3], logits[:, 7] = 1e4, -1e4
    logits[:, 20:45] = float("-inf")
    ours = of_ours(logits, PARAMETERS)
    for i, p in enumerate(PARAMETERS):
        assert torch.equal(ours[i], of_generate(logits[i : i + 1], p)[0]), p
    assert not ours[:, 20:45].any()


def test_tokens_equal_to_the_last_of_top_k_stay_too() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0, 0.0]])
    kept = of_ours(logits, [SamplingParameters(temperature=1.0, top_k=2)])
    assert torch.equal(kept, of_generate(logits, SamplingParameters(temperature=1.0, top_k=2)))
    assert kept.sum() == 4


@pytest.mark.parametrize("top_k", [200, 255, 256, 300, 999])
def test_equal_tokens_beyond_the_likeliest_few_are_found(top_k: int) -> None:
    logits = torch.zeros(1, 1000)
    logits[0, :150] = torch.linspace(1, 2, 150)
    for p in (
        SamplingParameters(temperature=1.0, top_k=top_k),
        SamplingParameters(temperature=1.0, top_k=top_k, min_p=0.2),
        SamplingParameters(temperature=1.0, top_k=top_k, min_p=0.5),
    ):
        assert torch.equal(of_ours(logits, [p]), of_generate(logits, p))


@pytest.mark.parametrize("top_p", [0.2, 0.5, 0.9])
def test_as_many_equal_tokens_are_kept_by_top_p(top_p: float) -> None:
    # Which of several equal tokens goes is up to the sort; how many go is not.
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0, 2.0, 0.0, 0.0]])
    p = SamplingParameters(temperature=1.0, top_p=top_p)
    ours, theirs = (kept(logits, q)[0] for kept, q in ((of_ours, [p]), (of_generate, p)))
    assert logits[0][ours].sort().values.tolist() == logits[0][theirs].sort().values.tolist()


def test_the_likeliest_token_is_always_kept() -> None:
    logits = torch.randn(1, 100, generator=torch.Generator().manual_seed(3))
    for p in (SamplingParameters(temperature=1.0, top_p=1e-45), SamplingParameters(temperature=1.0, min_p=1.0)):
        assert of_ours(logits, [p])[0].nonzero().flatten().tolist() == [int(logits.argmax())]
