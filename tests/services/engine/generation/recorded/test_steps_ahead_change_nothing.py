"""Steps launched before the tokens in front of them are read give each request the same result as without."""

import asyncio
import random
from typing import Any

import pytest

from sensorium.errors import Internal
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Delta, Event, OutputRules
from services.engine.generation.sampling.device_choice import NO_TOKEN, UNDECIDED
from services.engine.loading import LoadedModel
from tests.services.bench import Bench, BenchMaker, eventually, fake_bench, real_bench
from tests.services.dice import dice
from tests.services.fake_runner import FakeRunner, continuation
from tests.services.near_ties import part_at_a_near_tie
from tests.services.structures import regex
from tests.tiny.language_models import END_ID

KINDS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.8, "top_p": 0.9, "top_k": 40},
    {"temperature": 1.3},
    {"temperature": 1.0, "min_p": 0.02, "top_k": 200},
    {"stop_strings": ("e", "st")},
    {"temperature": 0.7, "stop_token_ids": frozenset(range(6, 60))},
    {
        "repetition_penalty": 1.3,
        "frequency_penalty": 0.4,
        "min_new_tokens": 9,
        "stop_token_ids": frozenset(range(6, 99)),
    },
    {"temperature": 0.9, "presence_penalty": 0.7, "logit_bias": ((7, 2.0), (300, -1.5)), "bad_words": ((8,), (40,))},
    {"temperature": 1.1, "top_k": 20, "repetition_penalty": 0.8, "allowed_token_ids": tuple(range(50, 110))},
    {"temperature": 1.2, "top_p": 0.8, "top_k": 90, "typical_p": 0.6},
    {"logprob_count": 5},
    {"logprob_count": 2, "structure": regex("([a-z]{2} ){3,9}"), "end_token_ids": frozenset({END_ID})},
    {"logprob_count": 0, "temperature": 0.9, "top_k": 40, "presence_penalty": 0.7},
]


async def served(
    bench: Bench, asked: list[tuple[list[int], dict[str, Any]]], source: random.Random
) -> list[Delta | None]:
    """Runs all requests: three at once, the others after them. A few callers cancel."""

    async def one(stream: GenerationStream, leaves: bool = False) -> Delta | None:
        told = Delta("", ())
        async for event in stream:
            told += event if isinstance(event, Delta) else Delta("", ())
            if leaves and len(told.token_ids) > 3:
                stream.cancel()
        return None if leaves else told

    async def late(prompt: list[int], fields: dict[str, Any], delay: float, leaves: bool) -> Delta | None:
        await asyncio.sleep(delay)
        return await one(bench.submit(prompt, **fields), leaves)

    others = [late(*each, source.random() * 0.1, source.random() < 0.2) for each in asked[3:]]
    return await asyncio.gather(*map(one, bench.submit_all(*asked[:3])), *others)


async def alike(loaded: LoadedModel, prompt: list[int], fields: dict[str, Any], one: Delta, other: Delta) -> bool:
    """Returns whether two outputs have equal tokens with equal likelihoods, within float32 rounding."""
    if one.token_ids != other.token_ids:
        return await part_at_a_near_tie(loaded, prompt, fields, [one.token_ids], [other.token_ids])
    told = [[(a.logprob, *(b.logprob for b in a.alternatives)) for a in each.logprobs] for each in (one, other)]
    return all(a == pytest.approx(b, abs=1e-5) for a, b in zip(*told, strict=True))


@pytest.mark.parametrize("sizes", [{}, {"pages": 8, "max_sequences": 3}], ids=["roomy", "tight"])
async def test_mixed_requests_that_come_and_go_get_the_same(
    llama: LoadedModel, benches: list[Bench], sizes: dict[str, int]
) -> None:
    source = dice()
    benches += [real_bench(llama), real_bench(llama, ahead=True, **sizes)]
    asked = [
        (
            [source.randrange(6, 320) for _ in range(source.randrange(1, 40))],
            {"seed": i, "max_new_tokens": source.randrange(1, 50), **KINDS[i % len(KINDS)]},
        )
        for i in range(24)
    ]
    # Three requests that together need twice the pages of the small cache.
    asked[:3] = [([source.randrange(6, 320) for _ in range(40)], {"max_new_tokens": 48}) for _ in range(3)]
    plain = [one.candidates[0] for one in await benches[0].run_all(*asked)]
    found = await served(benches[1], asked, source)
    for (prompt, fields), one, whole in zip(asked, found, plain, strict=True):
        assert one is None or await alike(llama, prompt, fields, one, whole)
    assert benches[1].launcher.ahead > (0 if sizes else 10)  # none while prompts wait for pages
    assert sizes == {} or benches[1].metric("preemptions_total") > 0
    await eventually(lambda: benches[1].idle)


@pytest.mark.parametrize(
    ("fields", "launched"),
    [
        ({"presence_penalty": 1.0}, 1),
        ({"presence_penalty": 1.0, "bad_words": ((9, 10),)}, 1),
        ({"rules": OutputRules(suppressed_token_ids=(9,))}, 0),
        ({"logprob_count": 1}, 1),
        ({"temperature": 1.0, "typical_p": 0.5}, 1),
        ({"temperature": 0.9, "candidate_count": 2}, 1),
        ({"temperature": 1.0, "top_p": 0.97}, 3),  # more tokens than the device looks at: tried at steps 1, 2, 4
    ],
)
async def test_rows_that_need_their_logits_are_computed_at_once(
    llama: LoadedModel, benches: list[Bench], fields: dict[str, Any], launched: int
) -> None:
    benches += [real_bench(llama), real_bench(llama, ahead=True)]
    results = [await bench.run([7, 8, 9], max_new_tokens=6, **fields) for bench in benches]
    assert results[0].candidates == results[1].candidates
    assert benches[1].launcher.first == launched


async def test_undecided_rows_are_computed_again_and_others_go_on(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    benches[0].launcher.changed = {1: {0: UNDECIDED}, 2: {0: 99}, 5: {1: UNDECIDED}}
    prompts = [[10, 11], [20], [30]]
    found = await benches[0].run_all(*((prompt, {"max_new_tokens": 14}) for prompt in prompts))
    assert [result.ids for result in found] == [continuation(prompt, 14) for prompt in prompts]


async def test_rows_that_tell_how_likely_tokens_are_go_on_ahead(llama: LoadedModel, benches: list[Bench]) -> None:
    benches += [real_bench(llama), real_bench(llama, ahead=True)]
    kinds: list[dict[str, Any]] = [{}, {"logprob_count": 3}, {"logprob_count": 0, "repetition_penalty": 1.5}]
    asked = [([7 + i, 8, 9], {"max_new_tokens": 40, **kind}) for i, kind in enumerate(kinds)]
    expected, found = [[one.candidates[0] for one in await bench.run_all(*asked)] for bench in benches]
    for one, other, (prompt, fields) in zip(found, expected, asked, strict=True):
        assert await alike(llama, prompt, fields, one, other)
        assert len(one.logprobs) == (40 if "logprob_count" in fields else 0)
    launcher = benches[1].launcher
    assert launcher.ahead >= 39 > 5 >= launcher.first


async def test_what_cannot_be_launched_is_computed_at_once(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    benches[0].launcher.failing = {0, 2, 3, 7}
    prompts = [[10, 11], [20]]
    found = await benches[0].run_all(*((prompt, {"max_new_tokens": 14}) for prompt in prompts))
    assert [result.ids for result in found] == [continuation(prompt, 14) for prompt in prompts]
    assert benches[0].launcher.ahead > 3


async def test_logits_that_are_no_numbers_end_their_row_alone(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    benches[0].launcher.changed = {2: {0: NO_TOKEN}}
    found = await asyncio.gather(
        *(benches[0].run(prompt, max_new_tokens=14) for prompt in ([10], [20])), return_exceptions=True
    )
    ends = [isinstance(result, Internal) for result in found]
    assert sorted(ends) == [False, True]
    prompt = [[10], [20]][ends.index(False)]
    assert next(result.ids for result in found if not isinstance(result, BaseException)) == continuation(prompt, 14)
    await eventually(lambda: benches[0].idle)


async def test_no_step_is_launched_behind_the_last_token(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    assert (await benches[0].run([10], max_new_tokens=9)).ids == continuation([10], 9)
    await eventually(lambda: benches[0].idle)
    assert benches[0].runner.steps == 9  # one for the prompt, and one for each token but the last
    assert (benches[0].launcher.first, benches[0].launcher.ahead) == (1, 8)


async def test_prompts_are_read_by_steps_that_are_launched(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    asked = [([10], 30, 0.0), ([20, 21, 22, 23], 9, 0.01), ([30] * 70, 5, 0.02)]

    async def one(prompt: list[int], tokens: int, delay: float) -> list[int]:
        await asyncio.sleep(delay)
        return (await benches[0].run(prompt, max_new_tokens=tokens)).ids

    assert await asyncio.gather(*(one(*each) for each in asked)) == [continuation(p, count) for p, count, _ in asked]
    await eventually(lambda: benches[0].idle)
    assert benches[0].runner.steps == benches[0].launcher.first + benches[0].launcher.ahead


async def test_a_request_that_comes_joins_soon(benches: list[Bench], fake: BenchMaker) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    bench = benches[0]
    bench.runner.hold()
    long = asyncio.ensure_future(bench.run([10], max_new_tokens=60))
    bench.runner.permit(6)
    await eventually(lambda: bench.runner.steps == 6)
    short = asyncio.ensure_future(bench.run([20], max_new_tokens=2))
    await asyncio.sleep(0.05)
    bench.runner.permit(4)
    assert (await short).ids == continuation([20], 2)
    bench.runner.free()
    assert (await long).ids == continuation([10], 60)


async def test_tokens_that_may_not_be_told_yet_are_not_handed_over(
    llama: LoadedModel, benches: list[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    benches += [real_bench(llama, ahead=True, streams={"messages_per_second": rate}) for rate in (0, 1)]
    handed: list[Event | Exception] = []
    deliver = GenerationStream.deliver

    def counted(stream: GenerationStream, event: Event | Exception) -> None:
        handed.append(event)
        deliver(stream, event)

    monkeypatch.setattr(GenerationStream, "deliver", counted)
    counts: list[int] = []
    for bench in benches:
        handed.clear()
        found = await bench.run_all(*(([20 + i, 30, 40], {"max_new_tokens": 60}) for i in range(3)))
        assert all(len(result.ids) == 60 for result in found)
        counts.append(len(handed))
    assert counts[1] < counts[0] / 3
