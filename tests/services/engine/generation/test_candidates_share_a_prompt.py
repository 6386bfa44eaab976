import asyncio
import itertools
from typing import Any

import pytest
from torch import Tensor

from sensorium.errors import DeviceOutOfMemory, Internal, InvalidArgument, SlowConsumer
from services.engine.generation import prefill_budget
from services.engine.generation.requests.request import FinishReason
from services.engine.generation.sequence import CachedTokens
from tests.services.bench import Bench, BenchMaker, Result, eventually, first_delta, read
from tests.services.dice import dice
from tests.services.fake_runner import continuation

PROMPT = [9, 33, 120, 47, 15, *range(60, 97)]
SAMPLED: dict[str, Any] = {"temperature": 1.3, "top_p": 0.95, "seed": 11, "repetition_penalty": 1.2}


def ids(result: Result) -> list[list[int]]:
    return [list(candidate.token_ids) for candidate in result.candidates]


def rows_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Returns a list that collects, for each further step, the token count of each row."""
    seen: list[list[int]] = []
    run = bench.runner.run

    def noting(rows: list[Any]) -> Tensor:
        seen.append([row.token_count for row in rows])
        return run(rows)

    monkeypatch.setattr(bench.runner, "run", noting)
    return seen


@pytest.mark.parametrize("length", [1, 15, 16, 42])
@pytest.mark.parametrize("share", [True, False], ids=["prefix cache", "no prefix cache"])
async def test_the_prompt_is_computed_once_and_its_last_page_copied(
    real: BenchMaker, monkeypatch: pytest.MonkeyPatch, share: bool, length: int
) -> None:
    bench, prompt = real(share=share), PROMPT[:length]
    seen = rows_run(bench, monkeypatch)
    four = await bench.run(prompt, candidate_count=4, max_new_tokens=20, **SAMPLED)
    assert seen == [[length]] + [[1] * 4] * 19
    assert len({tuple(candidate) for candidate in ids(four)}) == 4
    assert four.completed.cached_token_count == 0
    assert bench.idle


async def test_a_candidate_depends_on_its_index_and_the_first_is_that_of_a_request_for_one(real: BenchMaker) -> None:
    bench = real(max_sequences=16)
    one, three, eight = await asyncio.gather(
        *(bench.run(PROMPT, candidate_count=count, max_new_tokens=25, **SAMPLED) for count in (1, 3, 8))
    )
    assert ids(one) == ids(eight)[:1]
    assert ids(three) == ids(eight)[:3]
    again = await bench.run(PROMPT, candidate_count=8, max_new_tokens=25, **SAMPLED)
    assert ids(again) == ids(eight)


async def test_greedy_candidates_are_all_equal(real: BenchMaker) -> None:
    bench = real()
    one = await bench.run(PROMPT, max_new_tokens=25)
    assert ids(await bench.run(PROMPT, max_new_tokens=25, candidate_count=5)) == ids(one) * 5


async def test_each_ends_by_itself_and_all_are_told_by_index(real: BenchMaker) -> None:
    bench = real()
    plain = await bench.run(PROMPT, candidate_count=6, max_new_tokens=12, **SAMPLED)
    # The first candidate ends with its first token, while the others continue from the prompt it computed.
    ends = frozenset([ids(plain)[0][0], ids(plain)[3][5]])
    result = await bench.run(PROMPT, candidate_count=6, max_new_tokens=12, end_token_ids=ends, **SAMPLED)
    assert len(ids(result)[0]) == 1
    for whole, cut, finish in zip(ids(plain), ids(result), result.completed.finishes, strict=True):
        length = next((i + 1 for i, token in enumerate(whole) if token in ends), 12)
        assert cut == whole[:length]
        ended = cut[-1] in ends
        assert finish.reason is (FinishReason.END_OF_SEQUENCE if ended else FinishReason.MAX_NEW_TOKENS)
        assert finish.token_id == (cut[-1] if ended else None)
    assert result.completed.output_token_count == sum(map(len, ids(result)))
    assert bench.metric("generation_tokens_total") == 72 + result.completed.output_token_count
    assert bench.metric("prompt_tokens_total") == 2 * len(PROMPT)
    assert bench.metric("requests_total", finish_reason="max_new_tokens") == 1
    assert bench.metric("requests_total", finish_reason="end_of_sequence") == 1
    assert bench.idle


@pytest.mark.parametrize("share", [True, False], ids=["prefix cache", "no prefix cache"])
async def test_more_than_there_are_rows_wait_for_some(real: BenchMaker, share: bool) -> None:
    wide, narrow = real(max_sequences=16), real(max_sequences=3, share=share)
    fields: dict[str, Any] = {"candidate_count": 7, "max_new_tokens": 12, **SAMPLED}
    expected = ids(await wide.run(PROMPT, **fields))
    results = await asyncio.gather(*(narrow.run(PROMPT, **fields) for _ in range(3)))
    assert [ids(result) for result in results] == [expected] * 3
    assert narrow.idle


async def test_those_that_wait_go_before_later_requests(fake: BenchMaker) -> None:
    bench = fake(max_sequences=2)
    bench.runner.hold()
    first = bench.submit([10], candidate_count=4, max_new_tokens=3)
    await eventually(lambda: len(bench.runner.seen) == 1)
    later = bench.submit([99], max_new_tokens=3)
    bench.runner.free()
    assert ids(await read(first)) == [continuation([10], 3)] * 4
    await read(later)
    steps = [[row[0] for row in step] for step in bench.runner.seen]
    assert steps.index([99]) > max(i for i, step in enumerate(steps) if 10 in step)


async def test_preemption_changes_nothing(real: BenchMaker) -> None:
    fields: dict[str, Any] = {**SAMPLED, "candidate_count": 5, "max_new_tokens": 40, "frequency_penalty": 0.3}
    asked = [(PROMPT[: 14 + 9 * i], fields | {"seed": i}) for i in range(4)]
    roomy = real(max_sequences=16)
    expected = [ids(result) for result in await roomy.run_all(*asked)]
    assert roomy.metric("preemptions_total") == 0
    for share in (True, False):  # with a prefix cache, and without
        tight = real(pages=11, max_sequences=16, share=share)
        assert [ids(result) for result in await tight.run_all(*asked)] == expected, share
        assert tight.metric("preemptions_total") > 0
        assert tight.idle


@pytest.mark.parametrize("share", [True, False], ids=["prefix cache", "no prefix cache"])
async def test_a_candidate_that_waited_begins_behind_the_prompt_that_others_hold(
    real: BenchMaker, monkeypatch: pytest.MonkeyPatch, share: bool
) -> None:
    monkeypatch.setattr(prefill_budget, "_FLOOR", 64)  # a step prefills the whole prompt, even after slow steps
    bench = real(max_sequences=2, share=share)
    plain = ids(await bench.run(PROMPT, candidate_count=2, max_new_tokens=8, **SAMPLED))
    ends = frozenset([next(token for token in plain[0] if token not in plain[1])])
    seen = rows_run(bench, monkeypatch)
    await bench.run(PROMPT, candidate_count=3, max_new_tokens=8, end_token_ids=ends, cache_salt="another", **SAMPLED)
    # Two full pages (32 tokens) are shared; the rest of the prompt and the candidate's first token are computed.
    assert [1, len(PROMPT) + 1 - 32] in seen


async def test_resuming_from_any_cuts_equals_what_was_not_interrupted(real: BenchMaker) -> None:
    bench = real(max_sequences=24, prefill_tokens=48)
    plain = await bench.run(PROMPT, candidate_count=3, max_new_tokens=14, **SAMPLED)
    ends = frozenset([ids(plain)[1][6]])
    fields: dict[str, Any] = {
        "candidate_count": 3, "max_new_tokens": 14, "end_token_ids": ends, "logprob_count": 1,
        "no_repeat_ngram_size": 3, **SAMPLED,
    }  # fmt: skip
    whole = await bench.run(PROMPT, **fields)
    assert whole.completed.finishes[1].reason is FinishReason.END_OF_SEQUENCE

    async def resume(cuts: tuple[int, ...]) -> None:
        held = tuple(tuple(one[:cut]) for one, cut in zip(ids(whole), cuts, strict=False))
        rest = await bench.run(PROMPT, delivered_each=held, **fields)
        padded = [*held, *[()] * (3 - len(held))]
        assert [[*before, *behind] for before, behind in zip(padded, ids(rest), strict=True)] == ids(whole)
        assert rest.completed.finishes == whole.completed.finishes
        assert rest.completed.output_token_count == whole.completed.output_token_count
        for before, candidate in zip(whole.candidates, rest.candidates, strict=True):
            assert before.text.endswith(candidate.text)
            assert [entry.token_id for entry in candidate.logprobs] == list(candidate.token_ids)

    ends_at = len(ids(whole)[1])
    cuts = dice().sample([*itertools.product((0, 1, 5, 14), (0, 2, ends_at), (0, 1, 13, 14))], 15)
    cuts += [(), (3,), (14, ends_at)]
    await asyncio.gather(*map(resume, cuts))
    assert bench.idle


async def test_a_resume_shares_the_prompt_and_what_was_generated_alike(
    real: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = real(share=False)
    seen = rows_run(bench, monkeypatch)
    held = ((7, 8, 9), (7, 8, 10, 11), (7, 8))
    await bench.run(PROMPT, candidate_count=3, delivered_each=held, max_new_tokens=5)
    # The third candidate has delivered only (7, 8), the common beginning, so it needs no row of its own.
    assert seen[:2] == [[44], [1, 1, 2]]


async def test_a_row_that_fails_ends_all_of_its_request_and_nothing_else(fake: BenchMaker) -> None:
    bench = fake(max_sequences=8)

    def fail(sequence: CachedTokens) -> None:
        if sequence.token_ids[0] == 300 and len(sequence.token_ids) == 5 and getattr(sequence, "candidate", 0) == 2:
            raise IndexError("secret")

    bench.runner.on_row = fail
    results = await asyncio.gather(
        bench.run([10, 11], candidate_count=2, max_new_tokens=12),
        bench.run([300, 9], candidate_count=4, max_new_tokens=12),
        bench.run([20], max_new_tokens=12),
        return_exceptions=True,
    )
    first, failed, last = results
    assert isinstance(first, Result)
    assert isinstance(last, Result)
    assert ids(first) == [continuation([10, 11], 12)] * 2
    assert isinstance(failed, Internal)
    assert last.ids == continuation([20], 12)
    await eventually(lambda: bench.idle)
    assert bench.metric("requests_total", finish_reason="error") == 1


async def test_a_fork_that_fails_ends_its_request_alone(fake: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    bench = fake()

    def fork(pairs: list[tuple[CachedTokens, CachedTokens]]) -> None:
        if pairs and pairs[0][0].token_ids[0] == 300:
            raise torch.OutOfMemoryError("secret")

    monkeypatch.setattr(bench.runner, "fork", fork)
    results = await asyncio.gather(
        bench.run([300, 9], candidate_count=4, max_new_tokens=12),
        bench.run([10, 11], candidate_count=2, max_new_tokens=12),
        return_exceptions=True,
    )
    assert isinstance(results[0], DeviceOutOfMemory)
    assert isinstance(results[1], Result)
    assert ids(results[1]) == [continuation([10, 11], 12)] * 2
    await eventually(lambda: bench.idle)


async def test_what_forbids_all_of_one_candidate_refuses_the_request(fake: BenchMaker) -> None:
    bench = fake()
    with pytest.raises(InvalidArgument):
        await bench.run([5], candidate_count=3, allowed_token_ids=(7, 8), no_repeat_ngram_size=1)
    await eventually(lambda: bench.idle)


async def test_cancelling_frees_all_rows_within_one_step(fake: BenchMaker) -> None:
    bench = fake(max_sequences=3)
    bench.runner.hold()
    stream = bench.submit([10] * 20, candidate_count=5, max_new_tokens=1000)
    bench.runner.permit()
    await eventually(lambda: len(bench.runner.seen) == 2)
    assert len(bench.runner.seen[1]) == 3
    other = bench.submit([11], max_new_tokens=4)
    stream.cancel()
    bench.runner.permit()
    await eventually(lambda: len(bench.runner.seen) == 3)
    assert bench.runner.seen[2] == [(11,)]
    bench.runner.free()
    await read(other)
    await eventually(lambda: bench.idle)
    assert bench.metric("requests_total", finish_reason="cancelled") == 1


async def test_a_reader_too_slow_is_one_for_all_candidates_together(fake: BenchMaker) -> None:
    bench = fake()
    bench.engine._unread_tokens = 100
    slow = bench.submit([10], candidate_count=4, max_new_tokens=50_000)
    await eventually(lambda: bench.metric("requests_total", finish_reason="cancelled") == 1)
    with pytest.raises(SlowConsumer):
        await read(slow)
    assert bench.metric("generation_tokens_total") < 10_000
    await eventually(lambda: bench.idle)


async def test_first_words_come_while_all_are_being_generated(fake: BenchMaker) -> None:
    bench = fake()
    bench.runner.hold()
    stream = bench.submit([10], candidate_count=3, max_new_tokens=9)
    bench.runner.permit(2)
    deltas = [await first_delta(stream) for _ in range(3)]
    assert sorted(delta.candidate_index for delta in deltas) == [0, 1, 2]
    bench.runner.free()
    await read(stream)
