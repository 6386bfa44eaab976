import numpy as np
import pytest
import torch

from services.engine.generation.sampling import sampler
from services.engine.generation.sampling.device_choice import NO_TOKEN, choose, numbers_of
from services.engine.generation.sampling.inversion import invert
from services.engine.generation.sampling.sampler import NoToken, sample
from services.engine.generation.sequence import Sequence
from tests.services.engine.generation.sequences import sequence

DENORMAL = 1e-45


def at(position: int, **fields: float) -> Sequence:
    return sequence([5], [6] * position, **fields)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0))
    count = 4096
    rows = [at(position, temperature=0.8, seed=11) for position in range(count)]
    drawn = np.bincount(sample(logits.repeat(count, 1), rows), minlength=20)
    expected = torch.softmax(logits / 0.8, dim=0).numpy() * count
    assert float(((drawn - expected) ** 2 / expected).sum()) < 43.8  # 19 degrees of freedom: one in 1,000


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(1)) * 3
    rows = [
        at(0),
        at(3, temperature=1.0, seed=1),
        at(0, temperature=5.0, seed=2, top_k=7),
        at(9, temperature=0.7, seed=3, top_p=0.9, min_p=0.01),
        at(2, repetition_penalty=3.0),
        at(1, temperature=1.0, seed=4, repetition_penalty=0.2),
    ]
    together = sample(logits.clone(), rows)
    alone = [sample(logits[i : i + 1].clone(), [row])[0] for i, row in enumerate(rows)]
    assert together == alone
    assert together[0] == int(logits[0].argmax())
    assert len(set(sample(logits[1].repeat(50, 1), [at(i, temperature=1.0, seed=1) for i in range(50)]))) > 5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_no_numbers_has_no_token_and_its_neighbours_are_right(bad: float, temperature: float) -> None:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(2))
    rows = [at(0, temperature=1.0, seed=1, top_p=0.9), at(0, temperature=temperature, seed=2), at(0)]
    alone = [sample(logits[i : i + 1].clone(), [rows[i]])[0] for i in (0, 2)]
    logits[1, 17] = bad
    assert sample(logits, rows) == [alone[0], NoToken.NOT_NUMBERS, alone[1]]


def test_the_device_draws_as_the_host_does_beside_rows_that_are_no_numbers() -> None:
    logits = torch.randn(40, 700, generator=torch.Generator().manual_seed(3)).bfloat16() * 4
    kinds = ({}, {"top_k": 7}, {"top_p": 0.6}, {"top_k": 300, "min_p": 0.2}, {"temperature": 0.0})
    rows = [at(i, **{"temperature": 0.8, "seed": i, **kinds[i % 5]}) for i in range(40)]
    logits[7, 600], logits[8, 5], logits[9, 6] = float("nan"), float("inf"), float("nan")
    expected = [NO_TOKEN if token is NoToken.NOT_NUMBERS else token for token in sample(logits.float(), rows)]
    assert [i for i, token in enumerate(expected) if token == NO_TOKEN] == [7, 8, 9]
    numbers = numbers_of(rows, [0] * 40)
    assert numbers is not None
    likeliest = torch.where(logits.amax(dim=-1).isfinite(), logits.argmax(dim=-1), NO_TOKEN)
    assert choose(logits, likeliest, torch.from_numpy(numbers)).tolist() == expected


def test_a_row_whose_model_forbids_everything_has_no_token() -> None:
    assert sample(torch.full((1, 8), float("-inf")), [at(0, temperature=1.0)]) == [NoToken.NOT_NUMBERS]


@pytest.mark.parametrize("u", [0.0, 2.0**-53, 1 - 2.0**-53])
def test_an_excluded_token_is_never_drawn_at_the_ends_of_the_interval(
    u: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "uniform", lambda seeds, positions, candidates: np.full(len(seeds), u))
    logits = torch.randn(200, 97, generator=torch.Generator().manual_seed(6)) * 4
    logits[:, -3:] = float("-inf")
    logits[:, :2] = float("-inf")
    rows = [at(0, temperature=1.0, top_k=k % 9, top_p=0.3 + k % 8 / 10) for k in range(200)]
    kept = sampler.truncate(logits.clone(), [row.request.sampling for row in rows]).isfinite()
    tokens = sample(logits, rows)
    assert all(kept[i, token] for i, token in enumerate(tokens))


def test_a_large_vocabulary_is_inverted_at_the_same_place_as_by_one_sum() -> None:
    generator = torch.Generator().manual_seed(5)
    weights = torch.rand(64, 5000, generator=generator) * (torch.rand(64, 5000, generator=generator) < 0.01)
    draws = torch.rand(64, generator=generator, dtype=torch.float64)
    draws[0], draws[1] = 0.0, 1 - 2.0**-53
    cumulative = weights.double().cumsum(dim=-1)
    exact = [int((row > u * row[-1]).nonzero()[0]) for row, u in zip(cumulative, draws, strict=True)]
    assert invert(weights, draws).tolist() == exact


@pytest.mark.parametrize("temperature", [DENORMAL, 1e-38, 1e-6])
def test_the_smallest_temperatures_take_the_likeliest_token(temperature: float) -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(7)) * 10
    likeliest = logits.argmax(dim=-1).tolist()
    rows = [at(i, temperature=temperature, seed=i, top_p=0.9) for i in range(4)]
    assert sample(logits, rows) == likeliest


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_smallest_repetition_penalty_takes_a_token_seen_before(temperature: float) -> None:
    logits = torch.rand(1, 50, generator=torch.Generator().manual_seed(8))
    asked = sequence([5], [6], temperature=temperature, repetition_penalty=DENORMAL)
    assert sample(logits, [asked])[0] in {5, 6}


def test_an_ending_is_not_drawn_before_the_minimum() -> None:
    logits = torch.zeros(64, 4)
    logits[:, 2] = 50.0
    rows = [at(i, temperature=1.0, min_new_tokens=32, end_token_ids=frozenset({2})) for i in range(64)]
    tokens = sample(logits, rows)
    assert 2 not in tokens[:32]
    assert tokens[32:] == [2] * 32
