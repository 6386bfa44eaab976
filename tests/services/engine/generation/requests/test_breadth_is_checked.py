import math
from typing import Any

import pytest

from sensorium.errors import Violation
from services.engine.generation.requests.request import BeamParameters, EarlyStopping
from services.engine.generation.requests.resolution import (
    BeamOptions,
    DeliveredTokens,
    GenerationLimits,
    GenerationOptions,
    ModelDefaults,
    TokenizedInput,
    resolve,
    resolve_beams,
    resolve_candidates,
)
from services.engine.generation.requests.validation import violations

LIMITS = GenerationLimits(context_tokens=64, vocabulary_size=100, max_sequences=8, cache_pages=12, page_size=4)
NOTHING = ModelDefaults()


def found(
    defaults: ModelDefaults = NOTHING,
    limits: GenerationLimits = LIMITS,
    prompt: int = 4,
    delivered: tuple[DeliveredTokens, ...] = (),
    **options: Any,
) -> list[Violation]:
    return list(violations(GenerationOptions(**options), defaults, limits, TokenizedInput([5] * prompt, delivered)))


def fields(wrong: list[Violation]) -> list[str]:
    return [violation.field.removeprefix("parameters.") for violation in wrong]


def test_ends_of_every_range_are_fine() -> None:
    wide = GenerationLimits(context_tokens=64, vocabulary_size=100, max_sequences=16)
    assert found(candidate_count=1) == found(candidate_count=16, limits=wide) == []
    assert found(prompt_logprob_count=0) == found(prompt_logprob_count=20) == []
    for penalty in (-10.0, 0.0, 10.0):
        assert found(beams=BeamOptions(2, penalty)) == []
    assert found(beams=BeamOptions(16), candidate_count=16, limits=wide) == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"candidate_count": 0}, "candidate_count"),
        ({"candidate_count": -1}, "candidate_count"),
        ({"candidate_count": 17}, "candidate_count"),
        ({"candidate_count": 9}, "candidate_count"),
        ({"candidate_count": 3, "beams": BeamOptions(2)}, "candidate_count"),
        ({"beams": BeamOptions(0)}, "beam_search.beam_count"),
        ({"beams": BeamOptions(1)}, "beam_search.beam_count"),
        ({"beams": BeamOptions(-3)}, "beam_search.beam_count"),
        ({"beams": BeamOptions(17)}, "beam_search.beam_count"),
        ({"beams": BeamOptions(9)}, "beam_search.beam_count"),
        ({"beams": BeamOptions(2, math.nan)}, "beam_search.length_penalty"),
        ({"beams": BeamOptions(2, math.inf)}, "beam_search.length_penalty"),
        ({"beams": BeamOptions(2, 10.5)}, "beam_search.length_penalty"),
        ({"prompt_logprob_count": -1}, "prompt_logprob_count"),
        ({"prompt_logprob_count": 21}, "prompt_logprob_count"),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_named(options: dict[str, Any], field: str) -> None:
    assert fields(found(**options)) == [field]


def test_more_than_the_rows_there_are_is_told_with_their_number() -> None:
    for options in ({"candidate_count": 9}, {"beams": BeamOptions(9)}):
        assert "at most 8" in found(**options)[0].description


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = found(candidate_count=0, beams=BeamOptions(99, math.nan), prompt_logprob_count=50, top_k=-1)
    assert sorted(fields(wrong)) == [
        "beam_search.beam_count", "beam_search.length_penalty", "candidate_count", "prompt_logprob_count", "top_k",
    ]  # fmt: skip


def test_all_beams_have_to_fit_the_cache_at_once() -> None:
    # Twelve pages of four: the prompt's first page is shared, and each of four beams has two more, of 8 tokens.
    assert LIMITS.room(6, 4) == 12 - 6 + 1
    assert found(beams=BeamOptions(4), prompt=6, max_new_tokens=7) == []
    wrong = found(beams=BeamOptions(4), prompt=6, max_new_tokens=8)
    assert fields(wrong) == ["max_new_tokens"]
    assert "at most 7" in wrong[0].description
    assert fields(found(beams=BeamOptions(8), prompt=46)) == ["beam_search.beam_count"]
    assert found(candidate_count=8, prompt=46) == []  # these may wait for each other


def test_without_a_limit_beams_fill_what_room_they_have() -> None:
    _, stopping = resolve(GenerationOptions(beams=BeamOptions(4)), NOTHING, LIMITS, 6)
    assert (stopping.max_new_tokens, stopping.context_limited) == (7, True)
    _, alone = resolve(GenerationOptions(), NOTHING, LIMITS, 6)
    assert alone.max_new_tokens == 58


def test_each_entry_of_what_was_delivered_is_named_where_it_stands() -> None:
    entries = (
        DeliveredTokens(1, [5]), DeliveredTokens(3, [5]), DeliveredTokens(1, [5]), DeliveredTokens(-1, []),
        DeliveredTokens(0, [5, 100]), DeliveredTokens(2, [5] * 4),
    )  # fmt: skip
    wrong = found(candidate_count=3, delivered=entries, max_new_tokens=3)
    assert sorted(fields(wrong)) == [
        "delivered[1].candidate_index", "delivered[2].candidate_index", "delivered[3].candidate_index",
        "delivered[4].token_ids[1]", "delivered[5].token_ids",
    ]  # fmt: skip


def test_any_candidate_of_a_sampled_request_needs_the_seed_to_go_on() -> None:
    fields_of = {"candidate_count": 3, "temperature": 1.0, "delivered": (DeliveredTokens(2, [5]),)}
    assert fields(found(**fields_of)) == ["seed"]
    assert found(**fields_of, seed=4) == []
    assert found(candidate_count=3, temperature=1.0, delivered=(DeliveredTokens(2, []),)) == []


MODEL = ModelDefaults(candidate_count=3, beam_count=4, length_penalty=0.5, early_stopping=EarlyStopping.FIRST)


def test_what_is_absent_is_the_models_own() -> None:
    beams = resolve_beams(GenerationOptions(), MODEL)
    assert beams == BeamParameters(4, 0.5, EarlyStopping.FIRST)
    assert resolve_candidates(GenerationOptions(), MODEL, beams) == 3
    asked = GenerationOptions(beams=BeamOptions(2))
    assert resolve_beams(asked, MODEL) == BeamParameters(2, 0.5, EarlyStopping.FIRST)
    assert resolve_candidates(asked, MODEL, resolve_beams(asked, MODEL)) == 2
    full = GenerationOptions(beams=BeamOptions(5, 0.0, EarlyStopping.NEVER), candidate_count=1)
    assert resolve_beams(full, MODEL) == BeamParameters(5, 0.0, EarlyStopping.NEVER)
    assert resolve_candidates(full, MODEL, resolve_beams(full, MODEL)) == 1


def test_without_a_word_from_anybody_there_is_one_candidate_and_no_search() -> None:
    assert resolve_beams(GenerationOptions(), NOTHING) is None
    assert resolve_candidates(GenerationOptions(), NOTHING, None) == 1
    assert resolve_beams(GenerationOptions(beams=BeamOptions(3)), NOTHING) == BeamParameters(3)


def test_log_probabilities_of_a_prompt_have_to_fit_a_message() -> None:
    limits = GenerationLimits(64, 100, prompt_logprob_bytes=1000, token_logprob_bytes=(10, 30, 50))
    assert found(limits=limits, prompt=20, prompt_logprob_count=2) == []
    wrong = found(limits=limits, prompt=21, prompt_logprob_count=2)
    assert fields(wrong) == ["prompt_logprob_count"]
    assert "1050 bytes" in wrong[0].description
    assert "at most 1" in wrong[0].description
    small = GenerationLimits(64, 100, prompt_logprob_bytes=100, token_logprob_bytes=(10, 30, 50))
    assert "leave it out" in found(limits=small, prompt=21, prompt_logprob_count=0)[0].description
