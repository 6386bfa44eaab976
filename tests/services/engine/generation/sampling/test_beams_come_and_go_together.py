import asyncio
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import DeadlineExceeded, DeviceOutOfMemory, Internal, InvalidArgument
from services.engine.generation.requests.request import BeamParameters
from services.engine.generation.sequence import CachedTokens
from tests.services.bench import Bench, BenchMaker, Result, eventually, output_of, pass_time, read, request
from tests.services.dice import dice
from tests.services.engine.generation.lives import lived
from tests.services.engine.generation.vocabularies import Undecodable
from tests.services.fake_runner import continuation

POISON = 300
BEAMS = BeamParameters(4)


async def in_step(bench: Bench, number: int) -> None:
    await eventually(lambda: len(bench.runner.seen) == number)


def ids(result: Result) -> list[list[int]]:
    return [list(candidate.token_ids) for candidate in result.candidates]


async def test_cancelling_frees_all_rows_and_pages_within_one_step(fake: BenchMaker) -> None:
    bench = fake(max_sequences=4)
    bench.runner.hold()
    stream = bench.submit([10] * 20, beams=BEAMS, max_new_tokens=1000)
    bench.runner.permit(2)
    await in_step(bench, 3)
    assert [len(step) for step in bench.runner.seen] == [1, 4, 4]
    other = bench.submit([11], max_new_tokens=4)
    stream.cancel()
    bench.runner.permit()
    await in_step(bench, 4)
    assert bench.runner.seen[3] == [(11,)]
    bench.runner.free()
    await read(other)
    await eventually(lambda: bench.idle)


async def test_a_deadline_ends_a_search(fake: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = fake()
    bench.runner.hold()
    stream = bench.submit([10], beams=BEAMS, max_new_tokens=100_000, deadline=time.monotonic() + 3600)
    bench.runner.permit(3)
    await in_step(bench, 4)
    pass_time(monkeypatch, 3600)
    bench.runner.free()
    with pytest.raises(DeadlineExceeded):
        await read(stream)
    await eventually(lambda: bench.idle)


async def test_a_search_waits_until_there_are_rows_for_all_its_beams(fake: BenchMaker) -> None:
    bench = fake(max_sequences=5)
    bench.runner.hold()
    streams = [bench.submit([20 + i], max_new_tokens=2 + 3 * i) for i in range(3)]
    await in_step(bench, 1)
    streams.append(bench.submit([10], beams=BEAMS, max_new_tokens=6))
    streams.append(bench.submit([90], max_new_tokens=3))
    bench.runner.free()
    await asyncio.gather(*map(read, streams))
    steps = [[row[0] for row in step] for step in bench.runner.seen]
    searching = [step.count(10) for step in steps if 10 in step]
    assert searching == [1, 4, 4, 4, 4, 4]
    assert max(map(len, steps)) <= 5
    assert all(len(step) <= 2 for step in steps if step.count(10) == 1)  # the others' rows are kept for them
    assert bench.idle


@pytest.mark.parametrize(
    ("raised", "error"),
    [(RuntimeError("secret"), Internal), (torch.OutOfMemoryError("secret"), DeviceOutOfMemory)],
    ids=["runtime error", "out of memory"],
)
@pytest.mark.parametrize("after", [1, 2, 6])
async def test_a_beam_that_fails_ends_its_search_alone(
    fake: BenchMaker, raised: Exception, error: type[Exception], after: int
) -> None:
    bench = fake(max_sequences=8)

    def fail(sequence: CachedTokens) -> None:
        if sequence.token_ids[0] == POISON and len(sequence.token_ids) > after:
            raise raised

    bench.runner.on_row = fail
    good, bad, other = await asyncio.gather(
        bench.run([10, 11], max_new_tokens=12),
        bench.run([POISON, 9], beams=BEAMS, max_new_tokens=12),
        bench.run([12], beams=BeamParameters(2), max_new_tokens=12),
        return_exceptions=True,
    )
    assert isinstance(good, Result)
    assert isinstance(other, Result)
    assert good.ids == continuation([10, 11], 12)
    assert other.ids == continuation([12], 12)
    assert type(bad) is error
    await eventually(lambda: bench.idle)


async def test_a_failure_that_passes_when_rows_run_alone_ends_no_search(real: BenchMaker) -> None:
    bench = real(max_sequences=12)
    fields: dict[str, Any] = {"beams": BEAMS, "candidate_count": 3, "max_new_tokens": 15, "repetition_penalty": 1.2}
    expected = [ids(await bench.run(prompt, **fields)) for prompt in ([9, 33], [47] * 20)]
    run, failures = bench.runner.run, 0

    def crowded(rows: list[Any]) -> Tensor:
        nonlocal failures
        if len(rows) > 2:
            failures += 1
            raise torch.OutOfMemoryError("too many rows")
        return run(rows)

    bench.runner.run = crowded
    results = await asyncio.gather(*(bench.run(prompt, **fields) for prompt in ([9, 33], [47] * 20)))
    assert [ids(result) for result in results] == expected
    assert failures > 10


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_logits_that_are_no_numbers_end_their_search_alone(fake: BenchMaker, bad: float) -> None:
    bench = fake()

    def spoil(sequence: CachedTokens, logits: Tensor) -> None:
        if sequence.token_ids[0] == POISON and len(sequence.token_ids) > 4:
            logits[5] = bad

    bench.runner.on_logits = spoil
    good, failed = await asyncio.gather(
        bench.run([10], max_new_tokens=12),
        bench.run([POISON], beams=BEAMS, max_new_tokens=12),
        return_exceptions=True,
    )
    assert isinstance(good, Result)
    assert good.ids == continuation([10], 12)
    assert isinstance(failed, Internal)
    await eventually(lambda: bench.idle)


async def test_text_that_cannot_be_decoded_ends_its_search_alone(fake: BenchMaker) -> None:
    bench = fake()
    asked = request([POISON], beams=BEAMS, max_new_tokens=12)
    stream = bench.engine.submit(asked, output_of(asked, Undecodable()))
    good = await bench.run([10], candidate_count=2, max_new_tokens=12)
    assert ids(good) == [continuation([10], 12)] * 2
    with pytest.raises(Internal):
        await read(stream)
    await eventually(lambda: bench.idle)


async def test_a_search_that_may_go_one_way_only_goes_it_with_one_beam(fake: BenchMaker) -> None:
    bench = fake()
    result = await bench.run([5], beams=BEAMS, allowed_token_ids=(7,), max_new_tokens=3)
    assert ids(result) == [[7, 7, 7]]
    assert [len(step) for step in bench.runner.seen] == [1, 1, 1]
    with pytest.raises(InvalidArgument) as caught:
        await bench.run([5], beams=BEAMS, candidate_count=2, allowed_token_ids=(7,), max_new_tokens=3)
    assert "1 outputs for 2 candidates" in caught.value.violations[0].description
    await eventually(lambda: bench.idle)


async def test_a_search_from_which_everything_is_forbidden_is_refused(fake: BenchMaker) -> None:
    bench = fake()
    with pytest.raises(InvalidArgument):
        await bench.run([5], beams=BEAMS, allowed_token_ids=(7, 8), no_repeat_ngram_size=1, max_new_tokens=9)
    await eventually(lambda: bench.idle)


async def test_few_beams_grow_to_many_again_within_their_rows(fake: BenchMaker) -> None:
    bench = fake(max_sequences=4)
    # Two runs of one token are possible, then four of two, and so on.
    result = await bench.run([5], beams=BEAMS, candidate_count=4, allowed_token_ids=(7, 8), max_new_tokens=3)
    assert len({tuple(one) for one in ids(result)}) == 4
    assert [len(step) for step in bench.runner.seen] == [1, 2, 4]
    assert bench.idle


async def test_tokens_held_that_no_search_finds_are_refused(real: BenchMaker) -> None:
    bench = real()
    with pytest.raises(InvalidArgument) as caught:
        await bench.run([9, 33], beams=BEAMS, delivered=(5, 5, 5), max_new_tokens=6)
    assert [violation.field for violation in caught.value.violations] == ["delivered"]
    await eventually(lambda: bench.idle)


async def test_nothing_leaks_over_many_requests_of_all_kinds_in_a_tight_cache(real: BenchMaker) -> None:
    bench = real(pages=13, max_sequences=8, prefill_tokens=32)
    source = dice()

    async def life(number: int) -> str:
        await asyncio.sleep(source.random() * 0.3)
        prompt = [source.randrange(6, 320) for _ in range(source.randint(1, 50))]
        fields: dict[str, Any] = {"max_new_tokens": source.randint(1, 30), "priority": source.randint(-10, 10)}
        kind = number % 4
        if kind == 1:
            fields |= {"candidate_count": source.randint(2, 6), "temperature": 1.0, "seed": number}
        elif kind == 2:
            fields |= {"beams": BeamParameters(source.randint(2, 4)), "candidate_count": 2}
        elif kind == 3:
            fields |= {"prompt_logprob_count": 1, "candidate_count": source.randint(1, 3)}
        if number % 7 == 0:
            fields["deadline"] = time.monotonic() + source.random() * 0.5
        return await lived(bench, prompt, fields, None if number % 5 else lambda: source.random() * 0.3)

    ends = await asyncio.gather(*map(life, range(48)))
    await eventually(lambda: bench.idle)
    assert {"cancelled", "completed"} <= set(ends)
    assert "empty" not in ends
    assert bench.scheduler.running == bench.scheduler.waiting == []
    assert bench.metric("preemptions_total") > 0
    assert bench.metric("requests_total", finish_reason="error") == 0
