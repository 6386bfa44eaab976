import asyncio
from itertools import count
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import BeamParameters, FinishReason
from services.engine.generation.sampling import sampler
from services.engine.generation.sampling.sampler import NoToken, process, sample
from services.engine.generation.sampling.structure_mask import Bits, StructureMask
from services.engine.structure.structure import Structure, StructureState
from services.engine.structure.vocabulary import Vocabulary
from tests.services.bench import BenchMaker, eventually, read
from tests.services.engine.generation.sequences import sequence
from tests.services.fake_runner import VOCABULARY, continuation
from tests.services.structures import NUMBER, compiled, regex, wanted
from tests.tiny.language_models import END_ID, tokenizer

ENDS = frozenset({END_ID})


def ids_of(text: str) -> list[int]:
    return tokenizer()(text, add_special_tokens=False)["input_ids"]


def id_of(text: str) -> int:
    (token_id,) = ids_of(text)
    return token_id


def texts(token_ids: set[int]) -> set[str]:
    return {tokenizer().decode([token_id]) for token_id in token_ids}


def admitted(structure: Structure, text: str, *, width: int = VOCABULARY, **stopping: Any) -> set[int]:
    """Returns the ids that a row of logits keeps behind an output of `text`."""
    made = sequence([10, 20], ids_of(text), structure=structure, **{"end_token_ids": ENDS} | stopping)
    logits = torch.zeros(1, width)
    process(logits, [made])
    assert set(logits.unique().tolist()) <= {0.0, float("-inf")}
    return set(torch.isfinite(logits[0]).nonzero().flatten().tolist())


def test_an_end_is_admitted_where_the_output_may_end() -> None:
    structure = regex("a(bc?)?")
    assert texts(admitted(structure, "")) == {"a"}
    assert texts(admitted(structure, "a")) == {"b", "<end>"}
    assert texts(admitted(structure, "ab")) == {"c", "<end>"}
    assert texts(admitted(structure, "ab", end_token_ids=frozenset())) == {"c"}
    assert texts(admitted(structure, "ab", end_token_ids=frozenset({0, END_ID}))) == {"c", "<pad>", "<end>"}


def test_a_stop_token_is_admitted_where_the_output_may_end_and_where_its_text_may_stand() -> None:
    structure, stop = regex("a(bc)?"), frozenset({id_of("b"), 3})
    assert texts(admitted(structure, "", stop_token_ids=stop)) == {"a"}
    assert texts(admitted(structure, "a", stop_token_ids=stop)) == {"b", "<|system|>", "<end>"}
    assert texts(admitted(structure, "ab", stop_token_ids=stop)) == {"c"}
    assert texts(admitted(structure, "abc", stop_token_ids=stop)) == {"b", "<|system|>", "<end>"}


def test_an_end_that_is_text_too_ends_only_where_the_output_may_end() -> None:
    structure, ends = regex("a(bc)?"), frozenset({id_of("b")})
    assert texts(admitted(structure, "a", end_token_ids=ends)) == {"b"}
    assert admitted(regex("abc"), "a", end_token_ids=ends) == set()


@pytest.mark.parametrize("width", [VOCABULARY - 1, VOCABULARY, VOCABULARY + 1, VOCABULARY + 7, VOCABULARY + 100])
def test_rows_wider_and_narrower_than_the_vocabulary(width: int) -> None:
    expected = {id_of("a"), id_of("b"), END_ID}
    assert admitted(regex("[ab]*"), "ab", width=width) == expected
    beyond = frozenset({VOCABULARY + 50})
    assert admitted(regex("[ab]*"), "", width=width, end_token_ids=beyond) - beyond == expected - ENDS


def test_rows_with_and_without_a_structure_share_a_batch() -> None:
    logits = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 5
    fields: list[dict[str, Any]] = [
        {"structure": regex(NUMBER), "temperature": 5.0, "seed": 1},
        {"temperature": 5.0, "seed": 2},
        {"structure": compiled(wanted("json_object")), "repetition_penalty": 1.3, "logit_bias": ((7, 5.0),)},
        {"frequency_penalty": 1.0},
    ]
    together = [sequence([5, 6], **each, end_token_ids=ENDS) for each in fields]
    for step in range(10):
        processed = logits + step
        tokens = sample(processed, together)
        for i, token in enumerate(tokens):
            assert isinstance(token, int)
            fresh = sequence([5, 6], together[i].token_ids[2:], **fields[i], end_token_ids=ENDS)
            assert sample((logits[i : i + 1] + step).clone(), [fresh]) == [token]
            if token not in ENDS:
                together[i].token_ids.append(token)
        assert torch.equal(processed[1], logits[1] + step)


def test_penalties_and_biases_never_bring_back_what_is_forbidden() -> None:
    fields: dict[str, Any] = {
        "repetition_penalty": 0.2,
        "presence_penalty": -2.0,
        "logit_bias": ((id_of("z"), 100.0),),
        "structure": regex("a+b"),
    }
    for temperature in (0.0, 30.0):
        made = sequence([id_of("z")], ids_of("aa"), temperature=temperature, **fields)
        (token,) = sample(torch.randn(1, VOCABULARY), [made])
        assert token in {*ids_of("a"), *ids_of("b")}


@pytest.mark.parametrize(
    "others",
    [
        {"allowed_token_ids": (END_ID,)},
        {"bad_words": ((id_of("a"),),)},
        {"min_new_tokens": 5, "stop_token_ids": frozenset({id_of("a")})},
    ],
)
def test_what_leaves_nothing_together_with_others_is_told(others: dict[str, Any]) -> None:
    made = sequence([5], structure=regex("ab"), end_token_ids=ENDS, **others)
    assert sample(torch.randn(1, VOCABULARY), [made]) == [NoToken.ALL_FORBIDDEN]


def test_tokens_that_the_structure_does_not_admit_leave_nothing() -> None:
    made = sequence([5], ids_of("ax"), structure=regex("a+"))
    assert sample(torch.randn(1, VOCABULARY), [made]) == [NoToken.ALL_FORBIDDEN]


async def too_complex(stream: GenerationStream) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await read(stream)
    (violation,) = caught.value.violations
    assert violation.field == "parameters.structured_output.regex"
    assert "too complex" in violation.description


@pytest.mark.parametrize("ahead", [False, True])
async def test_a_structure_that_becomes_too_much_ends_its_request_alone_and_says_so(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    bench = fake(ahead=ahead)
    structure = regex("[a-z]*")
    mask, calls = StructureState.mask, count(1)

    def slow(state: StructureState) -> Any:
        if state._structure is structure and next(calls) > 5:
            structure.worked(10.0, "")
        return mask(state)

    monkeypatch.setattr(StructureState, "mask", slow)
    beside = asyncio.create_task(bench.run([9, 10], max_new_tokens=20))
    also = asyncio.create_task(bench.run([9, 10], max_new_tokens=12, structure=regex("[0-9]*")))
    await too_complex(bench.submit([5], structure=structure, max_new_tokens=50))
    assert structure.failure is not None
    assert (await beside).ids == continuation([9, 10], 20)
    assert len((await also).ids) == 12
    await eventually(lambda: bench.idle)


async def test_no_beam_is_lost_because_its_structure_became_too_much(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake()
    bits, calls = StructureMask.bits, count(1)

    def full(mask: StructureMask, *given: Any) -> Any:
        if next(calls) == 7:  # of one beam, and not of those beside it
            mask.failure = "is too complex"
            return Bits(len(bits(mask, *given)))
        return bits(mask, *given)

    monkeypatch.setattr(StructureMask, "bits", full)
    await too_complex(bench.submit([5], structure=regex("[a-z]*"), max_new_tokens=9, beams=BeamParameters(4)))


async def test_a_step_that_fails_and_is_repeated_follows_no_token_twice(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake(max_sequences=4)
    structure = regex("(abc){4,9}")

    async def both() -> list[list[int]]:
        asked = (bench.run([prompt], max_new_tokens=20, structure=structure) for prompt in (9, 10))
        return [result.ids for result in await asyncio.gather(*asked)]

    expected, calls = await both(), 0

    def fail_behind_the_masks(logits: torch.Tensor, sequences: list[Any]) -> dict[int, bool]:
        nonlocal calls
        calls += 1
        result = process(logits, sequences)
        if len(sequences) > 1 and calls % 3 == 0:
            raise ZeroDivisionError
        return result

    monkeypatch.setattr(sampler, "process", fail_behind_the_masks)
    assert await both() == expected
    assert calls > 20


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens were taken before each that is."""
    take, taken = StructureState.take, list[int]()

    def counted(state: StructureState, token_id: int) -> bool:
        taken.append(state.taken)
        return take(state, token_id)

    monkeypatch.setattr(StructureState, "take", counted)
    return taken


@pytest.mark.parametrize(
    ("ahead", "fields"),
    [(False, {}), (True, {}), (True, {"no_repeat_ngram_size": 9}), (False, {"candidate_count": 2, "temperature": 2.0})],
)
async def test_each_token_is_taken_on_once(
    fake: BenchMaker, taken: list[int], ahead: bool, fields: dict[str, Any]
) -> None:
    """What may follow and whether the output ends are told by one state."""
    result = await fake(ahead=ahead).run([9, 10], structure=regex("[a-z]{60}"), max_new_tokens=20, **fields)
    assert len(taken) == 20 * len(result.candidates)


async def test_a_beam_goes_on_from_the_state_of_its_own_output(fake: BenchMaker, taken: list[int]) -> None:
    """None is taken through the tokens before its last."""
    await read(fake().submit([5], structure=regex("[a-z]{60}"), max_new_tokens=9, beams=BeamParameters(3)))
    assert taken == sorted(taken)
    assert set(taken) == set(range(9))


async def test_preemption_changes_nothing(real: BenchMaker) -> None:
    structure = regex("([a-z]{2} ){30}")
    fields: dict[str, Any] = {"structure": structure, "temperature": 3.0, "max_new_tokens": 60}
    alone = [(await real(max_sequences=1).run([30 + i] * 20, seed=i, **fields)).ids for i in range(4)]
    crowded = real(max_sequences=4, pages=14)
    together = await crowded.run_all(*(([30 + i] * 20, {"seed": i, **fields}) for i in range(4)))
    assert [result.ids for result in together] == alone
    assert crowded.scheduler.preemptions > 0


NO_B: dict[str, Any] = {"bad_words": ((id_of("b"),),)}
ONLY_A: dict[str, Any] = {"allowed_token_ids": (id_of("a"),), "min_new_tokens": 7, "max_new_tokens": 7}
WITHOUT_END: dict[str, Any] = {"end_token_ids": frozenset[int]()}


@pytest.mark.parametrize(
    ("expression", "fields", "reason", "text"),
    [
        ("ab", {}, FinishReason.STRUCTURE_COMPLETE, "ab"),
        ("ab", {"min_new_tokens": 9}, FinishReason.STRUCTURE_COMPLETE, "ab"),
        ("ab", WITHOUT_END, FinishReason.STRUCTURE_COMPLETE, "ab"),
        ("ab", {"max_new_tokens": 2}, FinishReason.STRUCTURE_COMPLETE, "ab"),
        ("ab", {"max_new_tokens": 1}, FinishReason.MAX_NEW_TOKENS, "a"),
        ("ab", {"stop_strings": ("b",)}, FinishReason.STOP_STRING, "a"),
        ("ab", {"stop_strings": ("b",), "include_stop_string": True}, FinishReason.STOP_STRING, "ab"),
        ("ab", {"stop_strings": ("bc",)}, FinishReason.STRUCTURE_COMPLETE, "ab"),
        ("ab", {"stop_token_ids": frozenset({id_of("b")})}, FinishReason.STOP_TOKEN, "a"),
        ("a(b{50})?", NO_B, FinishReason.END_OF_SEQUENCE, "a"),
        ("a(b{50})?", NO_B | WITHOUT_END | {"stop_token_ids": frozenset({3})}, FinishReason.STOP_TOKEN, "a"),
        ("a{3,}", ONLY_A, FinishReason.MAX_NEW_TOKENS, "aaaaaaa"),
        ("", {}, FinishReason.STRUCTURE_COMPLETE, ""),
    ],
)
async def test_every_end_has_its_reason(
    expression: str, fields: dict[str, Any], reason: FinishReason, text: str, fake: BenchMaker
) -> None:
    bench = fake()
    result = await bench.run([9, 10], structure=regex(expression), **{"end_token_ids": ENDS} | fields)
    finish = result.completed.finish
    assert (finish.reason, result.text) == (reason, text)
    assert (finish.token_id is not None) == (reason in {FinishReason.END_OF_SEQUENCE, FinishReason.STOP_TOKEN})
    assert bench.runner.steps == len(result.ids)  # none to find out that nothing can follow
    assert bench.idle


async def test_log_probabilities_are_the_models_own(fake: BenchMaker) -> None:
    bench = fake()
    structured = await bench.run([9, 10], structure=regex("abc"), logprob_count=3, max_new_tokens=1)
    free = await bench.run([9, 10], logprob_count=3, max_new_tokens=1)
    assert structured.logprobs[0].alternatives == free.logprobs[0].alternatives
    assert structured.logprobs[0].token_id == id_of("a")
    assert structured.logprobs[0].rank > 1


def test_a_vocabulary_without_the_next_character_completes_the_output() -> None:
    """The structure could go on, but no token says how."""
    poor = Tokenizer(models.WordPiece({"[UNK]": 0, "##a": 1, "##b": 2}, unk_token="[UNK]"))
    poor.decoder = decoders.WordPiece(cleanup=False)
    known = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=poor, unk_token="[UNK]"))
    state = compiled(wanted("regex", "ab(c|d)?"), known).begin()
    assert [state.advance([token_id]) for token_id in (1, 2)] == [1, 1]
    assert not state._matcher.is_stopped()
    assert state.complete
