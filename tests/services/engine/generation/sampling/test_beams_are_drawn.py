import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.generation.requests.request import BeamParameters, EarlyStopping
from services.engine.generation.sampling.beam_draws import draw_places
from tests.drawn import drawn
from tests.services.bench import BenchMaker
from tests.services.engine.generation.sampling.test_beams_equal_generate import EARLY, found, generate
from tests.services.engine.generation.test_engine_equals_generate import prompts

NEVER = float("-inf")
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 30},
    {"temperature": 1.3, "top_p": 0.8, "repetition_penalty": 1.3},
    {"temperature": 0.9, "min_p": 0.05, "typical_p": 0.7},
]


def test_pairs_are_drawn_as_often_as_one_after_the_other_without_putting_back() -> None:
    weights = torch.tensor([0.5, 0.25, 0.15, 0.1])
    count = 3_000
    drawn = Counter(tuple(draw_places(weights.log(), 2, seed, 0)) for seed in range(count))
    for first in range(4):
        for second in range(4):
            expected = 0.0
            if first != second:
                expected = float(weights[first] * weights[second] / (1 - weights[first]))
            assert drawn[first, second] / count == pytest.approx(expected, abs=0.02)


def test_all_are_drawn_once_and_nothing_that_is_excluded_whatever_the_weights() -> None:
    source = random.Random(1)
    for seed in range(200):
        scores = torch.tensor([source.choice([0.0, -1.0, -40.0, -90.0, -300.0, NEVER]) for _ in range(12)])
        possible = (scores > NEVER).nonzero().flatten().tolist()
        assert sorted(draw_places(scores, 12, seed, 3)) == possible
        assert draw_places(scores, 5, seed, 3) == draw_places(scores, 12, seed, 3)[:5]


def test_what_is_almost_certain_comes_first_and_the_rest_by_its_own_weights() -> None:
    scores = torch.tensor([0.0, -80.0, -80.0 - 1.1, NEVER])
    seconds = Counter(draw_places(scores, 2, seed, 0)[1] for seed in range(1500))
    assert seconds[1] / 1500 == pytest.approx(0.75, abs=0.04)
    assert all(draw_places(scores, 2, seed, 0)[0] == 0 for seed in range(100))


def test_draws_depend_on_seed_and_position() -> None:
    scores = torch.zeros(1000)
    assert draw_places(scores, 8, 1, 2) == draw_places(scores, 8, 1, 2)
    assert len({tuple(draw_places(scores, 8, seed, position)) for seed in range(3) for position in range(3)}) == 9


@pytest.mark.parametrize("options", drawn(OPTIONS, 2), ids=str)
async def test_with_our_draws_generate_finds_the_same_beams(
    real: BenchMaker, own_llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    bench, ends = real(), [2, 60, 61]
    sampled: dict[str, Any] = {"top_k": 0, "max_new_tokens": 12} | options
    for seed, prompt in enumerate(prompts(5, seed=20)):
        early = list(EarlyStopping)[seed % 3]
        result = await bench.run(
            prompt, beams=BeamParameters(4, early_stopping=early), candidate_count=4, seed=seed,
            end_token_ids=frozenset(ends), **sampled,
        )  # fmt: skip
        position = 0

        def multinomial(probabilities: Tensor, num_samples: int, seed: int = seed) -> Tensor:
            nonlocal position
            position += 1
            places = draw_places(probabilities[0].double().log(), num_samples, seed, position - 1)
            # By score, as newer versions of `generate` sort them; older ones, 5.17 among them, took them as drawn.
            return torch.tensor([sorted(places, key=lambda place: -float(probabilities[0, place]))])

        with monkeypatch.context() as patched:
            patched.setattr(torch, "multinomial", multinomial)
            theirs = generate(
                own_llama, prompt, ends, 4, do_sample=True, num_beams=4, early_stopping=EARLY[early], **sampled
            )
        assert found(result) == theirs
        assert position > 1


async def test_seeds_give_different_outputs_and_each_the_same_again(real: BenchMaker) -> None:
    bench = real()
    outputs: set[tuple[int, ...]] = set()
    for seed in range(4):
        fields: dict[str, Any] = {"beams": BeamParameters(3), "temperature": 1.0, "seed": seed, "max_new_tokens": 15}
        one, other = await bench.run([9, 33], **fields), await bench.run([9, 33], **fields)
        assert one.ids == other.ids
        outputs.add(tuple(one.ids))
    assert len(outputs) > 1


@pytest.mark.parametrize("temperature", [1e-45, 1e-6, 100.0])
async def test_any_temperature_finds_beams(real: BenchMaker, temperature: float) -> None:
    bench = real()
    result = await bench.run(
        [9, 33], beams=BeamParameters(3), candidate_count=3, temperature=temperature, seed=1, max_new_tokens=8
    )
    assert len({tuple(ids) for ids in found(result)}) == 3
