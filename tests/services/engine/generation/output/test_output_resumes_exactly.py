import random

import pytest
from transformers import PreTrainedTokenizerFast

from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.requests.request import Delta, Finish, FinishReason
from tests.services.bench import output_of, request
from tests.services.engine.generation.vocabularies import byte_fallback
from tests.tiny.language_models import END_ID

PROMPT = [10, 11, 12]
MIXED = "Grüße 大阪 🌧🌧 an STOP alle Welt"


def finished(output: OutputBuilder, ids: list[int]) -> list[Delta]:
    """Pushes ids until the output ends and returns its deltas."""
    deltas: list[Delta] = []
    for token_id in ids:
        output.push(token_id)
        if delta := output.take():
            deltas.append(delta)
        if output.finish:
            return deltas
    raise AssertionError("the output did not end")


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def ids_of(deltas: list[Delta]) -> list[int]:
    return [token_id for delta in deltas for token_id in delta.token_ids]


def output(**fields: object) -> OutputBuilder:
    return output_of(request(PROMPT, **fields))


CASES = {
    "length": {"max_new_tokens": 25},
    "end of sequence": {"max_new_tokens": 100, "end_token_ids": frozenset({END_ID})},
    "stop token": {"max_new_tokens": 100, "stop_token_ids": frozenset({END_ID})},
    "stop string": {"max_new_tokens": 100, "stop_strings": ("STOP", "never")},
    "stop string included": {"max_new_tokens": 100, "stop_strings": ("STO", "STOP"), "include_stop_string": True},
    "held back to the end": {"max_new_tokens": 17, "stop_strings": ("阪 🌧🌧🌧🌧",)},
    "stop string late": {"max_new_tokens": 100, "stop_strings": ("a", "We"), "min_new_tokens": 20},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES.keys())
def test_a_replay_of_any_beginning_continues_with_exactly_the_rest(
    fields: dict[str, object], tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = [*tokenizer(MIXED)["input_ids"], END_ID]
    whole = output(**fields)
    deltas = finished(whole, ids)
    taken = ids_of(deltas)
    boundaries = [len(ids_of(deltas[:k])) for k in range(len(deltas) + 1)]
    assert len(boundaries) < len(taken) + 1  # some cuts lie inside a delta
    for k in range(len(taken)):
        before = output(**fields)
        released = ""
        for token_id in taken[:k]:
            before.push(token_id)
            released += delta.text if (delta := before.take()) else ""
        resumed = output(**fields)
        assert resumed.replay(tuple(taken[:k])) == k
        rest = finished(resumed, taken[k:])
        assert ids_of(rest) == taken[k:]
        assert released + text_of(rest) == text_of(deltas)
        assert resumed.finish == whole.finish
        if k in boundaries:
            assert rest == deltas[boundaries.index(k) :]


def test_a_replay_of_everything_is_finished_with_nothing_left(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("abc")["input_ids"]
    resumed = output(max_new_tokens=len(ids))
    assert resumed.replay(tuple(ids)) == len(ids)
    assert resumed.finish == Finish(FinishReason.MAX_NEW_TOKENS)
    assert resumed.take() is None


def test_a_replay_tells_where_the_output_had_ended() -> None:
    assert output(max_new_tokens=9, end_token_ids=frozenset({END_ID})).replay((20, END_ID, 21, 22)) == 2


def test_random_ids_of_either_kind_of_vocabulary_resume_exactly(tokenizer: PreTrainedTokenizerFast) -> None:
    generator = random.Random(6)
    for decoder in (tokenizer, byte_fallback()):
        for _ in range(60):
            ids = [generator.randrange(3, len(decoder)) for _ in range(30)]
            asked = request(PROMPT, max_new_tokens=30, stop_strings=("a", "\N{REPLACEMENT CHARACTER} "))
            deltas = finished(output_of(asked, decoder), ids)
            k = generator.randint(0, len(ids_of(deltas)) - 1)
            before = output_of(asked, decoder)
            released = "".join(delta.text for i in ids[:k] if not before.push(i) and (delta := before.take()))
            resumed = output_of(asked, decoder)
            resumed.replay(tuple(ids[:k]))
            rest = finished(resumed, ids[k:])
            assert (released + text_of(rest), ids[:k] + ids_of(rest)) == (text_of(deltas), ids_of(deltas))


def test_ids_wait_for_the_text_they_belong_to(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("🌊")["input_ids"]
    assert len(ids) > 1
    pending = output(max_new_tokens=9)
    for token_id in ids[:-1]:
        pending.push(token_id)
        assert pending.take() is None
    pending.push(ids[-1])
    assert pending.take() == Delta("🌊", tuple(ids))


def test_text_of_the_ending_token_is_left_out_and_its_id_is_not(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("abc")["input_ids"]
    stopped = output(max_new_tokens=50, stop_token_ids=frozenset({ids[-1]}))
    deltas = finished(stopped, ids)
    assert ids_of(deltas) == ids
    assert text_of(deltas) == "abc"[: -len(tokenizer.decode(ids[-1:]))]
    assert stopped.finish == Finish(FinishReason.STOP_TOKEN, token_id=ids[-1])


def test_the_models_end_is_told_apart_from_a_stop_token() -> None:
    ended = output(max_new_tokens=50, stop_token_ids=frozenset({7}), end_token_ids=frozenset({7}))
    assert ended.push(7) == Finish(FinishReason.END_OF_SEQUENCE, token_id=7)


def test_no_stop_counts_before_the_minimum(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("ababab")["input_ids"]
    stopped = output(max_new_tokens=50, min_new_tokens=4, stop_strings=("a",))
    deltas = finished(stopped, ids)
    assert len(ids_of(deltas)) >= 4
    assert text_of(deltas) == "abab"


def test_a_full_context_is_told_apart_from_a_limit_that_was_asked_for() -> None:
    assert output(max_new_tokens=1, context_limited=True).push(20) == Finish(FinishReason.CONTEXT_LENGTH)
    assert output(max_new_tokens=1).push(20) == Finish(FinishReason.MAX_NEW_TOKENS)


def test_the_stop_string_that_matched_is_told(tokenizer: PreTrainedTokenizerFast) -> None:
    stopped = output(max_new_tokens=99, stop_strings=("阪", "STOP"))
    finished(stopped, tokenizer(MIXED)["input_ids"])
    assert stopped.finish == Finish(FinishReason.STOP_STRING, stop_string="阪")


def test_a_stop_string_is_found_where_its_last_character_is_bytes_that_nothing_completes(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    ids = tokenizer("ab🌊")["input_ids"][:-1]
    stopped = output(max_new_tokens=len(ids), stop_strings=("b\N{REPLACEMENT CHARACTER}",))
    assert text_of(finished(stopped, ids)) == "a"
    assert stopped.finish == Finish(FinishReason.STOP_STRING, stop_string="b\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES.keys())
def test_a_fork_goes_on_alike_and_by_itself(fields: dict[str, object], tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [*tokenizer(MIXED)["input_ids"], END_ID]
    deltas = finished(output(**fields), ids)
    taken = len(ids_of(deltas))
    for k in range(taken):
        parent = output(**fields)
        for token_id in ids[:k]:
            parent.push(token_id)
        twin, other = parent.fork(), parent.fork()
        other.push(tokenizer("Q")["input_ids"][0])
        assert ids_of(finished(twin, ids[k:])) == ids[:taken]
        assert text_of(finished(parent, ids[k:])) == text_of(deltas)
