import math
from dataclasses import replace
from typing import Any

import pytest

from sensorium.errors import Violation
from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.requests.resolution import (
    BeamOptions,
    DeliveredTokens,
    GenerationLimits,
    GenerationOptions,
    ModelDefaults,
    TokenizedInput,
    resolve,
)
from services.engine.generation.requests.validation import violations

LIMITS = GenerationLimits(context_tokens=32, vocabulary_size=100)
NAN = math.nan


def found(
    options: GenerationOptions | None = None,
    *,
    prompt: int = 4,
    delivered: list[int] | None = None,
    defaults: ModelDefaults | None = None,
    tokens: TokenizedInput | None = None,
) -> list[Violation]:
    tokens = tokens or TokenizedInput([5] * prompt, holding(delivered or []))
    return list(violations(options or GenerationOptions(), defaults or ModelDefaults(), LIMITS, tokens))


def holding(token_ids: list[int]) -> tuple[DeliveredTokens, ...]:
    return (DeliveredTokens(0, token_ids),) if token_ids else ()


def fields(wrong: list[Violation]) -> list[str]:
    return [violation.field for violation in wrong]


def test_defaults_and_ends_of_every_range_are_fine() -> None:
    assert found() == []
    low = GenerationOptions(
        temperature=0, top_k=0, top_p=1e-45, min_p=0, typical_p=1e-45, repetition_penalty=1e-45, presence_penalty=-2,
        frequency_penalty=-2, no_repeat_ngram_size=0, logit_bias=((0, -100.0),), bad_words=("x",),
        allowed_token_ids=(0,), seed=0, max_new_tokens=1, min_new_tokens=0, stop_strings=("x",), stop_token_ids=(0,),
        logprob_count=0, priority=-10,
    )  # fmt: skip
    high = GenerationOptions(
        temperature=100, top_k=2**31 - 1, top_p=1, min_p=1, typical_p=1, repetition_penalty=100, presence_penalty=2,
        frequency_penalty=2, no_repeat_ngram_size=32, logit_bias=((99, 100.0),) * 1024, bad_words=("x" * 256,) * 256,
        allowed_token_ids=(99,) * 16_384, seed=2**63 - 1, max_new_tokens=28, min_new_tokens=28,
        stop_strings=("x" * 256,) * 16, stop_token_ids=(99,), logprob_count=20, priority=10,
    )  # fmt: skip
    assert found(low) == []
    assert found(high) == []


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("temperature", [-0.1, 100.1, NAN, math.inf]),
        ("top_k", [-1]),
        ("top_p", [0.0, -0.5, 1.01, NAN]),
        ("min_p", [-0.1, 1.1, NAN]),
        ("typical_p", [0.0, 1.5, NAN]),
        ("repetition_penalty", [0.0, -1.0, 100.5, NAN]),
        ("presence_penalty", [-2.5, 2.5, NAN]),
        ("frequency_penalty", [-2.5, 2.5, NAN]),
        ("no_repeat_ngram_size", [-1, 33]),
        ("logprob_count", [-1, 21]),
        ("seed", [-1]),
        ("max_new_tokens", [0, -1]),
        ("min_new_tokens", [-1]),
    ],
)
def test_a_value_out_of_range_is_named(field: str, values: list[Any]) -> None:
    for value in values:
        wrong = found(GenerationOptions(**{field: value}))
        assert fields(wrong) == [f"parameters.{field}"], value
        assert f"{value:g}" in wrong[0].description


@pytest.mark.parametrize("priority", [-11, 11])
def test_a_priority_out_of_range_is_named_by_its_own_field(priority: int) -> None:
    assert fields(found(GenerationOptions(priority=priority))) == ["priority"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    options = GenerationOptions(
        temperature=NAN,
        top_k=-1,
        top_p=2,
        min_p=-1,
        repetition_penalty=0,
        seed=-1,
        max_new_tokens=0,
        min_new_tokens=-1,
        stop_strings=("", "fine", "x" * 257),
        stop_token_ids=(5, 100, -1),
        priority=99,
    )
    wrong = found(options, tokens=TokenizedInput([1, 100], holding([-7]), "prompt_token_ids.ids"))
    parameters = (
        "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "max_new_tokens", "min_new_tokens",
        "stop_strings[0]", "stop_strings[2]", "stop_token_ids[1]", "stop_token_ids[2]",
    )  # fmt: skip
    others = ("priority", "prompt_token_ids.ids[1]", "delivered[0].token_ids[0]")
    assert sorted(fields(wrong)) == sorted([*(f"parameters.{name}" for name in parameters), *others])


def test_options_are_checked_though_the_input_was_refused() -> None:
    options = GenerationOptions(top_k=-1, seed=-1)
    wrong = list(violations(options, ModelDefaults(), LIMITS, None))
    assert fields(wrong) == ["parameters.top_k", "parameters.seed"]


def test_too_many_stop_token_ids_are_one_violation() -> None:
    assert fields(found(GenerationOptions(stop_token_ids=(5,) * 256))) == []
    assert fields(found(GenerationOptions(stop_token_ids=(5,) * 257))) == ["parameters.stop_token_ids"]


def test_too_many_stop_strings_are_one_violation() -> None:
    assert fields(found(GenerationOptions(stop_strings=("a",) * 17))) == ["parameters.stop_strings"]


@pytest.mark.parametrize(
    ("option", "most", "one"),
    [
        ("logit_bias", 1024, (5, 1.0)),
        ("bad_words", 256, "a"),
        ("allowed_token_ids", 16_384, 5),
    ],
)
def test_a_list_that_is_too_long_is_one_violation(option: str, most: int, one: Any) -> None:
    assert found(GenerationOptions(**{option: (one,) * most})) == []
    wrong = found(GenerationOptions(**{option: (one,) * (most + 1)}))
    assert fields(wrong) == [f"parameters.{option}"]
    assert str(most) in wrong[0].description


def test_each_bad_entry_of_a_list_is_named() -> None:
    options = GenerationOptions(
        logit_bias=((-1, 0.0), (7, 100.5), (8, NAN), (9, 1.0), (100, 0.0)),
        bad_words=("fine", "", "x" * 257),
        # More than the context holds, which is no measure for them.
        allowed_token_ids=(*range(50), 100, -1),
    )
    assert sorted(fields(found(options))) == sorted(
        f"parameters.{place}"
        for place in (
            "logit_bias[-1]", "logit_bias[7]", "logit_bias[8]", "logit_bias[100]", "bad_words[1]", "bad_words[2]",
            "allowed_token_ids[50]", "allowed_token_ids[51]",
        )
    )  # fmt: skip


@pytest.mark.parametrize("field", ["prompt", "chat"])
def test_an_empty_prompt_is_named_by_where_it_came_from(field: str) -> None:
    assert fields(found(tokens=TokenizedInput([], field=field))) == [field]


def test_prompt_and_output_may_fill_the_context_and_no_more() -> None:
    assert found(GenerationOptions(max_new_tokens=28), prompt=4) == []
    wrong = found(GenerationOptions(max_new_tokens=29), prompt=4)
    assert fields(wrong) == ["parameters.max_new_tokens"]
    assert "at most 28" in wrong[0].description
    assert found(prompt=31) == []
    assert fields(found(prompt=32)) == ["prompt"]
    assert fields(found(GenerationOptions(max_new_tokens=5), prompt=33)) == ["prompt"]


def test_a_minimum_above_what_is_generated_is_refused() -> None:
    assert fields(found(GenerationOptions(max_new_tokens=5, min_new_tokens=6))) == ["parameters.min_new_tokens"]
    assert found(GenerationOptions(min_new_tokens=28)) == []
    assert fields(found(GenerationOptions(min_new_tokens=29))) == ["parameters.min_new_tokens"]
    few = ModelDefaults(max_new_tokens=3)
    assert fields(found(GenerationOptions(min_new_tokens=4), defaults=few)) == ["parameters.min_new_tokens"]


def test_more_delivered_than_would_be_generated_is_refused() -> None:
    assert found(GenerationOptions(max_new_tokens=3), delivered=[5] * 3) == []
    assert fields(found(GenerationOptions(max_new_tokens=3), delivered=[5] * 4)) == ["delivered[0].token_ids"]


def test_resuming_a_sampled_request_needs_its_seed() -> None:
    sampling = ModelDefaults(do_sample=True)
    assert fields(found(delivered=[5], defaults=sampling)) == ["parameters.seed"]
    assert found(GenerationOptions(seed=0), delivered=[5], defaults=sampling) == []
    assert found(GenerationOptions(temperature=0), delivered=[5], defaults=sampling) == []
    assert found(delivered=[5]) == []
    assert found(defaults=sampling) == []


def in_force(options: GenerationOptions | None = None, defaults: ModelDefaults | None = None, prompt: int = 4) -> Any:
    return resolve(options or GenerationOptions(), defaults or ModelDefaults(), LIMITS, prompt)


MODEL = ModelDefaults(
    do_sample=True, temperature=0.6, top_k=20, top_p=0.9, min_p=0.1, typical_p=0.8, repetition_penalty=1.1,
    no_repeat_ngram_size=3, bad_words=((7, 8),), max_new_tokens=7, min_new_tokens=2, end_token_ids=frozenset({2, 3}),
)  # fmt: skip


def test_what_is_absent_is_the_models_own() -> None:
    sampling, stopping = in_force(defaults=MODEL)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.6, 20, 0.9)
    assert (sampling.min_p, sampling.typical_p, sampling.repetition_penalty) == (0.1, 0.8, 1.1)
    assert (sampling.no_repeat_ngram_size, sampling.bad_words) == (3, ((7, 8),))
    assert (stopping.max_new_tokens, stopping.min_new_tokens, stopping.context_limited) == (7, 2, False)
    assert stopping.end_token_ids == {2, 3}


def test_an_explicit_zero_is_not_absent() -> None:
    zeros = GenerationOptions(temperature=0.0, top_k=0, min_p=0.0, no_repeat_ngram_size=0, seed=0, min_new_tokens=0)
    sampling, stopping = in_force(zeros, MODEL)
    assert sampling.greedy
    assert sampling.no_repeat_ngram_size == 0
    assert (sampling.top_k, sampling.min_p, sampling.seed, stopping.min_new_tokens) == (0, 0.0, 0, 0)
    assert sampling.top_p == 0.9


def test_a_model_that_does_not_sample_is_greedy_whatever_its_temperature() -> None:
    assert in_force(defaults=ModelDefaults(temperature=0.7))[0].greedy
    assert in_force(GenerationOptions(temperature=0.5), ModelDefaults())[0].temperature == 0.5


def test_a_model_that_samples_and_says_no_more_has_a_temperature_of_one() -> None:
    sampling, stopping = in_force(defaults=ModelDefaults(do_sample=True))
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (1.0, 0, 1.0, 0.0)
    assert sampling.repetition_penalty == 1.0
    assert (stopping.max_new_tokens, stopping.context_limited) == (28, True)


def test_seeds_not_given_differ_and_are_in_range() -> None:
    seeds = {in_force()[0].seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_model_default_beyond_the_context_is_cut_and_ends_by_the_context() -> None:
    _, stopping = in_force(defaults=ModelDefaults(max_new_tokens=1000))
    assert (stopping.max_new_tokens, stopping.context_limited) == (28, True)
    _, stopping = in_force(GenerationOptions(max_new_tokens=28), ModelDefaults(max_new_tokens=1000))
    assert (stopping.max_new_tokens, stopping.context_limited) == (28, False)


def test_a_length_of_the_model_counts_the_prompt() -> None:
    """LIMITS leave room for 28 tokens behind a prompt of 4, which ends by the context where the model says as much."""
    own = ModelDefaults(max_length=12, min_length=7)
    _, stopping = in_force(defaults=own)
    assert (stopping.max_new_tokens, stopping.min_new_tokens, stopping.context_limited) == (8, 3, False)
    assert in_force(GenerationOptions(max_new_tokens=20, min_new_tokens=0), own)[1].max_new_tokens == 20
    assert in_force(defaults=own, prompt=9)[1].min_new_tokens == 0
    assert in_force(defaults=ModelDefaults(max_length=32))[1].context_limited
    assert in_force(defaults=replace(own, max_new_tokens=5, min_new_tokens=1))[1].max_new_tokens == 5
    assert fields(found(GenerationOptions(min_new_tokens=9), defaults=own)) == ["parameters.min_new_tokens"]
    assert fields(found(defaults=own, prompt=12)) == ["parameters.max_new_tokens"]
    assert found(GenerationOptions(max_new_tokens=1), defaults=own, prompt=12) == []


def test_ignoring_the_models_end_keeps_the_requests_own_stop_tokens() -> None:
    _, stopping = in_force(GenerationOptions(ignore_eos=True, stop_token_ids=(9,)), MODEL)
    assert stopping.end_token_ids == frozenset()
    assert stopping.ending_ids == {9}


@pytest.mark.parametrize(
    ("lookup", "wrong"),
    [
        (PromptLookup(1, 1), []),
        (PromptLookup(32, 8), []),
        (PromptLookup(0, 0), ["max_proposed_token_count", "max_matched_token_count"]),
        (PromptLookup(33, 9), ["max_proposed_token_count", "max_matched_token_count"]),
        (PromptLookup(-1, 3), ["max_proposed_token_count"]),
    ],
)
def test_numbers_of_prompt_lookup_are_checked(lookup: PromptLookup, wrong: list[str]) -> None:
    places = fields(found(GenerationOptions(lookup=lookup)))
    assert places == [f"parameters.prompt_lookup.{name}" for name in wrong]


@pytest.mark.parametrize("defaults", [ModelDefaults(), ModelDefaults(beam_count=3)])
def test_prompt_lookup_is_refused_where_it_cannot_be_done(defaults: ModelDefaults) -> None:
    asked = GenerationOptions(lookup=PromptLookup(), beams=None if defaults.beam_count else BeamOptions(2))
    assert fields(found(asked, defaults=defaults)) == ["parameters.prompt_lookup"]
    limits = replace(LIMITS, no_lookup="the model is none that can")
    (refused,) = violations(GenerationOptions(lookup=PromptLookup()), ModelDefaults(), limits, TokenizedInput([5]))
    assert refused.description == "must be left out: the model is none that can"
    assert list(violations(GenerationOptions(), ModelDefaults(), limits, TokenizedInput([5]))) == []
