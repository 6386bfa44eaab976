"""Rows whose next tokens depend on a structure or on earlier tokens get the same as without steps ahead, and stop no
other.
"""

import asyncio
from typing import Any

import pytest

from services.engine.generation.requests.request import FinishReason
from services.engine.generation.sampling.device_choice import UNDECIDED
from services.engine.generation.sampling.wishes import Wishes
from services.engine.loading import LoadedModel
from tests.services.bench import Bench, eventually, fake_bench, real_bench
from tests.services.dice import dice
from tests.services.fake_runner import FakeRunner, continuation
from tests.services.near_ties import part_at_a_near_tie
from tests.services.structures import PERSON, compiled, regex, schema
from tests.tiny.language_models import END_ID

ENDS = frozenset({END_ID})
DRAWN = {"temperature": 0.9, "top_k": 30}
TOKENS = 40


def kinds() -> list[dict[str, Any]]:
    """Returns long requests, one of them with a structure, for which the host checks each token."""
    return [
        {},
        {"structure": regex("([a-z]{2} ){200}")},
        {"structure": regex("[0-9a-f]{200}"), "repetition_penalty": 1.2, "logit_bias": ((70, 2.0),), **DRAWN},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2, "frequency_penalty": -1.0, **DRAWN},
        {"bad_words": ((9,), *((a, b) for a in range(6, 320) for b in range(100, 200))), "logprob_count": 1},
    ]


async def all_of(bench: Bench, asked: list[tuple[list[int], dict[str, Any]]]) -> list[list[int]]:
    return [one.ids for one in await bench.run_all(*asked)]


async def require_equal(
    loaded: LoadedModel, asked: list[tuple[list[int], dict[str, Any]]], found: list[list[int]], known: list[list[int]]
) -> None:
    for (prompt, fields), one, other in zip(asked, found, known, strict=True):
        assert one == other or await part_at_a_near_tie(loaded, prompt, fields, [one], [other])


async def test_steps_are_launched_ahead_while_they_run(llama: LoadedModel, benches: list[Bench]) -> None:
    benches += [real_bench(llama), real_bench(llama, ahead=True)]
    asked = [([20 + i, 30], {"max_new_tokens": TOKENS, "seed": i, **kind}) for i, kind in enumerate(kinds())]
    expected, found = [await all_of(bench, asked) for bench in benches]
    assert [len(ids) for ids in expected] == [TOKENS] * len(asked)
    await require_equal(llama, asked, found, expected)
    launcher = benches[1].launcher
    assert launcher.waiting >= TOKENS - 1 > 5 >= launcher.first
    await eventually(lambda: benches[1].idle)


@pytest.mark.parametrize("sizes", [{}, {"pages": 8, "max_sequences": 3}], ids=["roomy", "tight"])
async def test_any_that_come_and_go_and_steps_that_fail_change_nothing(
    llama: LoadedModel, benches: list[Bench], sizes: dict[str, int]
) -> None:
    source = dice()
    benches += [real_bench(llama), real_bench(llama, ahead=True, **sizes)]
    several = [*kinds(), {"structure": compiled(schema(PERSON)), "end_token_ids": ENDS, **DRAWN}]
    asked: list[tuple[list[int], dict[str, Any]]] = []
    for i in range(20):
        prompt = [source.randrange(6, 320) for _ in range(source.randrange(1, 40))]
        asked.append((prompt, {"max_new_tokens": source.randrange(1, 48), "seed": i, **several[i % len(several)]}))
    launcher = benches[1].launcher
    launcher.failing, launcher.unfinished = ({source.randrange(99) for _ in range(5)} for _ in range(2))
    launcher.changed = {source.randrange(99): {0: UNDECIDED} for _ in range(5)}
    expected = await all_of(benches[0], asked)

    async def late(prompt: list[int], fields: dict[str, Any], delay: float) -> list[int]:
        await asyncio.sleep(delay)
        return (await benches[1].run(prompt, **fields)).ids

    found = await asyncio.gather(*(late(*one, source.random() * 0.1) for one in asked))
    await require_equal(llama, asked, found, expected)
    assert launcher.waiting > 0
    await eventually(lambda: benches[1].idle)


async def test_a_structure_that_is_complete_ends_its_row_alone(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    beside = asyncio.ensure_future(benches[0].run([10], max_new_tokens=30))
    found = await benches[0].run([20], max_new_tokens=30, structure=regex("[a-f]{9}"), end_token_ids=ENDS)
    assert len(found.text) == 9
    assert found.completed.finishes[0].reason is FinishReason.STRUCTURE_COMPLETE
    assert (await beside).ids == continuation([10], 30)
    assert benches[0].launcher.waiting > 3
    await eventually(lambda: benches[0].idle)


async def test_what_the_host_cannot_tell_ends_its_row_alone(
    benches: list[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    admitted, calls = Wishes.admitted, 0

    def broken(wishes: Wishes, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise ZeroDivisionError
        return admitted(wishes, *given)

    monkeypatch.setattr(Wishes, "admitted", broken)
    asked = [([20], {"structure": regex("[a-z]{200}")}), ([30], {"no_repeat_ngram_size": 1}), ([10], {})]
    found = await all_of(benches[0], [(prompt, {"max_new_tokens": 30, **fields}) for prompt, fields in asked])
    monkeypatch.undo()
    benches.append(fake_bench(FakeRunner()))
    assert found == await all_of(benches[1], [(prompt, {"max_new_tokens": 30, **fields}) for prompt, fields in asked])
    assert calls > 8


async def test_an_engine_that_is_closed_leaves_no_step_without_its_tokens(benches: list[Bench]) -> None:
    benches.append(fake_bench(FakeRunner(), ahead=True))
    bench = benches[0]
    bench.runner.hold()
    bench.submit([20], max_new_tokens=60, structure=regex("[a-z]{200}"))
    bench.runner.permit(6)
    await eventually(lambda: bench.runner.steps == 6)
    closing = asyncio.create_task(asyncio.to_thread(bench.engine.close))
    await eventually(lambda: bench.engine._thread.closing)
    bench.runner.free()
    await closing
    assert bench.launcher.waiting > 4
    assert bench.launcher.open == 0
