"""Tokens proposed by what stands earlier give every request what it gets without them."""

import asyncio
from typing import Any

import pytest

from sensorium.errors import Internal
from services.engine.generation.requests.request import Completed, Delta, PromptLookup
from services.engine.generation.sampling.device_choice import NO_TOKEN, UNDECIDED
from services.engine.generation.speculation.speculation import Speculation
from services.engine.loading import LoadedModel
from tests.services.bench import Bench, Result, eventually, fake_bench, first_delta, real_bench
from tests.services.dice import dice
from tests.services.engine.generation.speculation.repeating import KINDS, QUICK, asked_of, looking_up, repeating
from tests.services.fake_runner import FakeRunner
from tests.services.near_ties import part_at_a_near_tie
from tests.services.structures import regex


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proposes whatever it costs: what is measured here is not time."""
    monkeypatch.setattr(Speculation, "_price", lambda *_: 0.0)


def same(found: Result, expected: Result) -> bool:
    """Compares everything a caller is told; log-probabilities as far as float32 goes."""
    told = [[(one.text, one.token_ids) for one in result.candidates] for result in (found, expected)]
    if told[0] != told[1]:
        return False
    for one, other in zip(found.candidates, expected.candidates, strict=True):
        for a, b in zip(one.logprobs, other.logprobs, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-5)
            alternatives = [[x.logprob for x in entry.alternatives] for entry in (a, b)]
            assert alternatives[0] == pytest.approx(alternatives[1], abs=1e-5)
    return found.completed.finishes == expected.completed.finishes


@pytest.mark.parametrize(
    ("kinds", "sizes"),
    [
        (KINDS, {}),
        (KINDS, {"pages": 10, "max_sequences": 4}),
        (KINDS, {"accelerated": True}),
        (QUICK * 2 + KINDS[1:4], {"ahead": True, "max_sequences": 2}),
        (QUICK * 2, {"ahead": True, "max_sequences": 3, "pages": 8}),
    ],
    ids=["plain attention", "too few pages", "in C", "launched", "launched, too few pages"],
)
async def test_requests_of_every_kind_get_the_same(
    llama: LoadedModel,
    fresh_llama: LoadedModel,
    benches: list[Bench],
    kinds: list[dict[str, Any]],
    sizes: dict[str, int],
) -> None:
    source = dice()
    benches += [real_bench(llama), real_bench(fresh_llama if "accelerated" in sizes else llama, **sizes)]
    plain, bench = benches
    told: list[Completed] = []

    def tried() -> bool:
        if "ahead" in sizes and min(bench.launcher.wide, bench.launcher.ahead) == 0:
            return False
        return bench.metric("accepted_tokens_total") > (0 if "ahead" in sizes else 50)

    for _ in range(8):  # since dice may give little to accept
        asked = asked_of(source, kinds)
        expected = await plain.run_all(*asked)
        found = await bench.run_all(
            *((prompt, looking_up(source, fields) if source.random() < 0.8 else fields) for prompt, fields in asked)
        )
        for (prompt, fields), one, other in zip(asked, found, expected, strict=True):
            if not same(one, other):
                ids = [[candidate.token_ids for candidate in result.candidates] for result in (one, other)]
                assert ids[0] != ids[1], (prompt, fields)
                assert await part_at_a_near_tie(llama, prompt, fields, *ids), (prompt, fields)
        told += [one.completed for one in found]
        if tried():
            break
    await eventually(lambda: bench.idle)
    assert tried()
    assert sum(one.proposed_token_count for one in told) == bench.metric("proposed_tokens_total")
    assert sum(one.accepted_token_count for one in told) == bench.metric("accepted_tokens_total")
    assert bench.metric("preemptions_total") > 0 or "pages" not in sizes


async def test_later_requests_never_start_behind_what_was_not_accepted(
    llama: LoadedModel, benches: list[Bench]
) -> None:
    source = dice()
    benches += [real_bench(llama, share=False), real_bench(llama)]
    for prompt, fields in [(repeating(source), {"seed": i}) for i in range(4)]:
        asked = fields | {"temperature": 0.9, "allowed_token_ids": (60, 61, 62), "max_new_tokens": 40}
        whole = await benches[1].run(prompt, **looking_up(source, asked))
        longer = [*prompt, *whole.ids, *prompt]
        expected = await benches[0].run(longer, max_new_tokens=8, logprob_count=0)
        assert same(await benches[1].run(longer, max_new_tokens=8, logprob_count=0), expected)
    assert benches[1].metric("proposed_tokens_total") > benches[1].metric("accepted_tokens_total")
    assert benches[1].metric("prefix_cache_hit_tokens_total") > 30


async def test_a_resumed_request_goes_on_with_the_same_tokens(llama: LoadedModel, benches: list[Bench]) -> None:
    source = dice()
    benches.append(real_bench(llama))
    prompt, fields = repeating(source), {"temperature": 0.3, "seed": 5, "max_new_tokens": 40}
    whole = (await benches[0].run(prompt, **fields)).ids
    for cut in (1, 17, 38, 39):
        resumed = await benches[0].run(prompt, delivered=tuple(whole[:cut]), **looking_up(source, fields))
        ids = [*whole[:cut], *resumed.ids]
        assert ids == whole or await part_at_a_near_tie(llama, prompt, fields, [ids], [whole])


class Echo(FakeRunner):
    """Goes on with what stands eight tokens before, so that all proposals are right, but for every `odd`th."""

    odd = 0

    def token(self, ids: list[int]) -> int:
        return 6 + len(ids) % 300 if self.odd and len(ids) % self.odd == 0 else ids[-8]

    def run(self, rows: Any) -> Any:
        logits = super().run(rows)
        lines = iter(logits)
        for row in rows:
            known = row.sequence.token_ids[: row.sequence.computed] + row.token_ids
            ends = [*range(row.sequence.computed + 1, row.sequence.computed + 1 + row.scored)]
            for end in [*ends, *([len(known)] if row.completes else [])]:
                line = next(lines)
                line.zero_()
                line[self.token(known[:end])] = 9.0
        return logits


PROMPT = [*range(70, 78)] * 2


@pytest.mark.parametrize("ahead", [False, True])
async def test_accepted_tokens_take_as_many_steps_less(benches: list[Bench], ahead: bool) -> None:
    benches.append(fake_bench(Echo(), ahead=ahead))
    result = await benches[0].run(PROMPT, max_new_tokens=100, lookup=PromptLookup(16, 3))
    assert result.ids == (PROMPT * 13)[:100]
    told = result.completed
    assert told.accepted_token_count == told.proposed_token_count == 100 - benches[0].runner.steps
    assert benches[0].runner.steps < 14


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"max_new_tokens": 21}, 21),
        ({"stop_token_ids": frozenset({75})}, 6),
        ({"end_token_ids": frozenset({74})}, 5),
        ({"structure": regex("(ab)*")}, None),
    ],
)
async def test_ends_in_the_midst_of_proposals_are_those_of_single_tokens(
    benches: list[Bench], fields: dict[str, Any], count: int | None
) -> None:
    benches.append(fake_bench(Echo()))
    asked = {"max_new_tokens": 60} | fields
    expected = await benches[0].run(PROMPT, **asked)
    found = await benches[0].run(PROMPT, lookup=PromptLookup(16, 3), **asked)
    assert same(found, expected)
    assert count is None or len(found.ids) == count
    assert found.completed.output_token_count == len(found.ids)
    await eventually(lambda: benches[0].idle)


async def test_a_stop_string_across_accepted_tokens_ends_the_output_there(benches: list[Bench]) -> None:
    benches.append(fake_bench(Echo()))
    text = (await benches[0].run(PROMPT, max_new_tokens=60)).text
    for start in range(30, 36):
        stop = text[start : start + 3]
        plain = await benches[0].run(PROMPT, max_new_tokens=60, stop_strings=(stop,), min_new_tokens=15)
        found = await benches[0].run(
            PROMPT, max_new_tokens=60, stop_strings=(stop,), min_new_tokens=15, lookup=PromptLookup(16, 3)
        )
        assert same(found, plain)
    await eventually(lambda: benches[0].idle)


@pytest.mark.parametrize("ahead", [False, True])
async def test_deltas_come_in_order_and_a_caller_who_leaves_frees_the_row(benches: list[Bench], ahead: bool) -> None:
    benches.append(fake_bench(Echo(), ahead=ahead))
    bench = benches[0]
    bench.runner.odd = 11
    expected = (await bench.run(PROMPT, max_new_tokens=90)).ids
    ids: list[int] = []
    async for event in bench.submit(PROMPT, max_new_tokens=90, lookup=PromptLookup(16, 3)):
        if isinstance(event, Delta):
            ids += event.token_ids
        else:
            assert isinstance(event, Completed)
    assert ids == expected
    bench.runner.hold()
    stream = bench.submit(PROMPT, max_new_tokens=900, lookup=PromptLookup(16, 3))
    bench.runner.permit(6)
    await first_delta(stream)
    stream.cancel()
    bench.runner.free()
    await eventually(lambda: bench.idle)


@pytest.mark.parametrize("place", [0, 1, 3])
async def test_a_token_that_the_device_cannot_choose_is_drawn_from_its_logits(benches: list[Bench], place: int) -> None:
    benches.append(fake_bench(Echo(), ahead=True))
    launcher = benches[0].launcher
    launcher.changed = {number: {place: UNDECIDED} for number in range(3, 20)}
    launcher.failing = {20}
    asked = {"max_new_tokens": 60, "lookup": PromptLookup(16, 3)}
    for _ in range(3):
        assert (await benches[0].run(PROMPT, **asked)).ids == (PROMPT * 8)[:60]
    assert launcher.wide > 0
    await eventually(lambda: benches[0].idle)


async def test_logits_that_are_no_numbers_behind_accepted_tokens_end_their_row_there(benches: list[Bench]) -> None:
    benches.append(fake_bench(Echo(), ahead=True))
    benches[0].launcher.changed = {number: {2: NO_TOKEN} for number in range(1, 9)}
    stream, ids = benches[0].submit(PROMPT, max_new_tokens=60, lookup=PromptLookup(16, 3)), list[int]()
    with pytest.raises(Internal):
        async for event in stream:
            ids += getattr(event, "token_ids", ())
    assert ids == (PROMPT * 8)[: len(ids)]
    await eventually(lambda: benches[0].idle)


async def test_a_step_that_fails_with_proposals_is_repeated_without(benches: list[Bench]) -> None:
    benches.append(fake_bench(Echo()))
    bench, steps = benches[0], 0
    run = bench.runner.run

    def failing(rows: Any) -> Any:
        nonlocal steps
        steps += any(row.proposed for row in rows)
        if steps % 2 and any(row.proposed for row in rows):
            raise RuntimeError("no room")
        return run(rows)

    bench.runner.run = failing
    fields = {"max_new_tokens": 60, "presence_penalty": 0.1}
    results = await asyncio.gather(
        bench.run(PROMPT, lookup=PromptLookup(16, 3), **fields), bench.run(PROMPT[:12], **fields)
    )
    assert [result.ids for result in results] == [(PROMPT * 8)[:60], (PROMPT[4:12] * 8)[:60]]
    assert steps > 4
    await eventually(lambda: bench.idle)
