import weakref
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import DeviceOutOfMemory
from services.engine.device.memory_errors import lacks_memory
from services.engine.generation.sequence import CachedTokens, Row
from tests.services.bench import Bench, BenchMaker, eventually
from tests.services.fake_runner import continuation

PROMPTS = [[10 + index, 20, 30 + index] for index in range(6)]


def lacking(bench: Bench, fits: Callable[[list[Row[CachedTokens]]], bool]) -> list[int]:
    """Makes steps that do not fit run out of memory. Returns a list that collects the rows of each step tried."""
    original, tried = bench.runner.run, list[int]()

    def run(rows: Collection[Row[CachedTokens]]) -> Tensor:
        tried.append(len(rows))
        if not fits(list(rows)):
            raise torch.OutOfMemoryError("secret")
        return original(rows)

    bench.runner.run = run
    return tried


async def all_exact(bench: Bench, prompts: list[list[int]], count: int) -> None:
    results = await bench.run_all(*((prompt, {"max_new_tokens": count}) for prompt in prompts))
    assert [result.ids for result in results] == [continuation(prompt, count) for prompt in prompts]
    await eventually(lambda: bench.idle)


async def test_fewer_sequences_share_a_step_after_more_did_not_fit(fake: BenchMaker) -> None:
    bench = fake(max_sequences=6)
    tried = lacking(bench, lambda rows: len(rows) <= 2)
    await all_exact(bench, PROMPTS, 30)
    assert 0 < bench.metric("oom_total") < 8  # at most one failure for each size tried before one fits
    del tried[:]
    await all_exact(bench, PROMPTS, 30)
    assert max(tried) <= 2


async def test_a_prompt_is_read_in_pieces_that_fit(fake: BenchMaker) -> None:
    bench = fake(prefill_tokens=64)
    lacking(bench, lambda rows: sum(row.token_count for row in rows) <= 10)
    await all_exact(bench, [list(range(20, 80)), [5, 6, 7]], 8)
    seen = bench.metric("oom_total")
    assert seen > 0
    await all_exact(bench, [list(range(21, 81)), [5, 6, 8]], 8)
    assert bench.metric("oom_total") == seen


async def test_prompts_that_go_on_waiting_do_not_pay_for_too_many_streams(fake: BenchMaker) -> None:
    bench = fake(max_sequences=8, prefill_tokens=16)
    lacking(bench, lambda rows: sum(row.decodes for row in rows) <= 2)
    await all_exact(bench, [[10 + index, *range(20, 40)] for index in range(24)], 12)
    assert bench.metric("oom_total") > 0
    before = bench.runner.steps
    await all_exact(bench, [[9, *range(20, 35)]], 1)
    assert bench.runner.steps - before < 10  # the prompt is not read token by token


async def test_what_a_failed_step_had_computed_is_let_go_before_it_is_repeated(fake: BenchMaker) -> None:
    bench = fake()
    original, kept = bench.runner.run, list[weakref.ref[Tensor]]()
    alive: list[bool] = []

    def run(rows: Collection[Row[CachedTokens]]) -> Tensor:
        alive.extend(reference() is not None for reference in kept)
        if not kept:
            activations = torch.zeros(8)
            kept.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("secret")
        return original(rows)

    bench.runner.run = run
    await all_exact(bench, [[5, 6, 7]], 4)
    assert alive and not any(alive)


async def test_one_request_that_never_fits_does_not_make_steps_smaller_for_the_others(fake: BenchMaker) -> None:
    bench = fake(max_sequences=8)
    tried = lacking(bench, lambda rows: all(row.sequence.token_ids[0] != 300 for row in rows))
    *good, bad = await bench.run_all(
        *((prompt, {"max_new_tokens": 20}) for prompt in [*PROMPTS, [300, 9, 9, 9]]), return_exceptions=True
    )
    assert isinstance(bad, DeviceOutOfMemory)
    assert [result.ids for result in good] == [continuation(prompt, 20) for prompt in PROMPTS]
    del tried[:]
    await all_exact(bench, PROMPTS, 20)
    assert max(tried) == 6


async def test_sequences_with_caches_of_their_own_give_them_back(fake: BenchMaker) -> None:
    """A sequence's state is lost when it is preempted, so those that hold one can be counted."""
    bench = fake(max_sequences=6, share=False, shares_pages=False, whole_prompts=True)

    def fits(rows: list[Row[CachedTokens]]) -> bool:
        for row in rows:
            row.sequence.state = None
        held = sum(running.state is not None for running in bench.scheduler.running)
        if held + len(rows) > 3:
            return False
        for row in rows:
            row.sequence.state = "held"
        return True

    lacking(bench, fits)
    await all_exact(bench, PROMPTS, 30)
    assert bench.metric("preemptions_total") > 0


@pytest.mark.parametrize("allocate", [lambda: torch.empty(1 << 50), lambda: bytearray(1 << 60)])
def test_what_the_allocators_raise_is_recognised(allocate: Callable[[], Any]) -> None:
    with pytest.raises(Exception, match=r".*") as caught:
        allocate()
    assert lacks_memory(caught.value)
    assert not lacks_memory(RuntimeError("a shape is wrong"))
