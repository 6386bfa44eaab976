import pytest

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.recorded.step_shape import Kind, StepShape
from services.engine.generation.scheduler import Scheduler
from tests.services.engine.generation.sequences import sequence

CONSTANT, TOKEN = 0.010, 0.0005
"""Modelled seconds of a step: a fixed part, and a part for each token, decoded or prefilled."""


def duration(rows: int, prompt_tokens: int = 0, token: float = TOKEN) -> float:
    return CONSTANT + (rows + prompt_tokens) * token


def learned(most: int = 2048, slowdown: float = 2.0, speed: float = 1.0) -> PrefillBudget:
    budget = PrefillBudget(most, slowdown)
    for _ in range(20):
        budget.observe(16, 0, duration(16) / speed)
        budget.observe(16, 32, duration(16, 32) / speed)
    return budget


def test_a_step_that_only_reads_is_short() -> None:
    assert learned().tokens(0, [5000]) * TOKEN == pytest.approx(0.1, rel=0.1)
    assert learned(most=50).tokens(0, [5000]) == 50


def test_a_slow_processor_still_gets_enough_to_do() -> None:
    budget = PrefillBudget(512, 2.0)
    for _ in range(20):
        budget.observe(0, 256, 256 * 0.02)
    assert budget.tokens(0, [5000]) == 64


def test_before_anything_is_known_it_takes_little() -> None:
    assert PrefillBudget(512, 2.0).tokens(4, [100]) == 32
    assert PrefillBudget(512, 2.0).tokens(0, [1000]) == 256
    assert PrefillBudget(20, 2.0).tokens(4, [100]) == 20


@pytest.mark.parametrize("slowdown", [1.6, 2.0, 3.0])
@pytest.mark.parametrize("rows", [2, 16, 31])
def test_a_step_takes_as_much_longer_as_it_may(slowdown: float, rows: int) -> None:
    tokens = learned(slowdown=slowdown).tokens(rows, [4000])
    assert duration(rows, tokens) == pytest.approx(max(slowdown * duration(rows + 1), duration(rows, 8)), rel=0.1)


def test_the_pace_is_that_of_all_who_will_stream() -> None:
    tokens = learned().tokens(1, [20] * 16)
    assert duration(1, tokens) == pytest.approx(2 * duration(17), rel=0.1)


def test_steps_of_recorded_sizes_are_filled() -> None:
    def tokens(most: int, *sizes: int, decoding: int = 16) -> int:
        shapes = [StepShape(Kind.READING, size, min(decoding, size // 2), 1, size) for size in sizes]
        budget = PrefillBudget(most, 2.0, shapes=shapes)
        for _ in range(20):
            budget.observe(16, 32, duration(16, 32))
            budget.observe(16, 0, duration(16))
        return budget.tokens(16, [4000])

    asked = tokens(2048)
    assert 16 < asked < 100
    assert tokens(2048, 16, 20, 200, 1000) == 200 - 16
    assert tokens(2048, 16, asked + 16) == asked
    assert tokens(2048, asked) == asked  # no recorded shape is large enough
    assert tokens(2048, 200, decoding=15) == asked  # that shape has room for only 15 decoding rows, not 16
    assert tokens(50, 200) == 50


def test_where_prompts_never_end_a_step_now_and_then_only_decodes() -> None:
    budget, taken = learned(), list[int]()
    for _ in range(100):
        taken.append(budget.tokens(16, [10_000]))
        budget.observe(16, taken[-1], duration(16, taken[-1]))
    assert taken.count(0) == 3
    assert 0 not in taken[:30]


def test_streams_that_take_longer_are_noticed_though_prompts_never_end() -> None:
    budget = learned()
    for _ in range(150):
        tokens = budget.tokens(16, [10_000])
        budget.observe(16, tokens, 3 * duration(16) + tokens * TOKEN)
    assert 3 * duration(16) + budget.tokens(16, [10_000]) * TOKEN == pytest.approx(6 * duration(16), rel=0.1)


def test_a_long_prompt_alone_is_no_reason_for_haste_but_those_behind_it_are() -> None:
    budget = learned()
    assert budget.tokens(16, [100_000]) == budget.tokens(16, [100])
    assert budget.tokens(16, [100, 1000]) < budget.tokens(16, [100, 1200]) < budget.tokens(16, [100, 1500])


def test_haste_does_not_depend_on_how_fast_the_processor_is() -> None:
    assert learned(speed=4.0).tokens(16, [100, 1200]) == learned().tokens(16, [100, 1200])


def test_haste_has_an_end() -> None:
    tokens = learned().tokens(16, [100, 1_000_000])
    assert duration(16, tokens) - duration(16) == pytest.approx(3 * duration(18), rel=0.1)


def test_it_never_falls_below_what_pays_nor_rises_above_what_it_may() -> None:
    assert learned(slowdown=1.01).tokens(16, [100]) == 8
    assert learned(most=40, slowdown=50.0).tokens(16, [100]) == 40


def test_a_single_slow_step_changes_nothing() -> None:
    budget, usual = learned(), learned().tokens(16, [100])
    budget.observe(16, 0, 50 * duration(16))
    budget.observe(16, 32, 50 * duration(16))
    assert budget.tokens(16, [100]) == pytest.approx(usual, rel=0.1)


def test_it_follows_tokens_that_become_dearer() -> None:
    budget = learned()
    for _ in range(20):
        budget.observe(16, 32, duration(16, 32, 2 * TOKEN))
        budget.observe(16, 0, duration(16, 0, 2 * TOKEN))
    tokens = budget.tokens(16, [100])
    assert duration(16, tokens, 2 * TOKEN) == pytest.approx(2 * duration(17, 0, 2 * TOKEN), rel=0.1)


@pytest.mark.parametrize("beginning", [0.018, 0.024])
@pytest.mark.parametrize("token", [4e-6, 3e-5])
def test_where_it_takes_long_to_read_at_all_a_step_reads_for_as_long_again(token: float, beginning: float) -> None:
    budget, taken = PrefillBudget(8192, 1.5, beginning), list[int]()
    budget.observe(0, 256, 2.0)  # an outlier: the first step compiles kernels
    for _ in range(100):
        tokens = budget.tokens(16, [100_000])
        budget.observe(16, tokens, 0.02 + tokens * token if tokens else 0.0015)
        taken.append(tokens)
    assert max(taken[50:]) * token <= 1.5 * beginning
    assert min(tokens for tokens in taken[50:] if tokens) * token > 0.3 * beginning


def longest_step(arrivals: dict[int, list[int]], steps: int) -> float:
    """Returns the seconds of the longest step in which a stream decodes; `arrivals` has prompt lengths by step."""
    plan = Scheduler(PagePool(10_000, 16), PrefillBudget(2048, 2.0), max_sequences=8)
    plan.add(sequence([5] * 40))
    longest = 0.0
    for step in range(steps):
        for length in arrivals.get(step, []):
            plan.add(sequence([5 + step] * length, arrival=float(step)))
        rows = plan.schedule()
        decoded = sum(row.decodes for row in rows)
        seconds = duration(decoded, sum(row.token_count for row in rows) - decoded)
        plan.observe(rows, seconds)
        for row in rows:
            completes = row.completes
            plan.advance(row)
            if completes:
                row.sequence.token_ids.append(7)
        if decoded:
            longest = max(longest, seconds)
    return longest


def test_a_long_prompt_does_not_stop_the_streams() -> None:
    assert duration(1) < longest_step({30: [4000]}, 200) <= 2.05 * duration(2)


def test_many_prompts_at_once_slow_streams_down_by_a_bounded_amount() -> None:
    assert 2.05 * duration(8) < longest_step({30: [2000] * 7}, 400) <= 4.2 * duration(8)
