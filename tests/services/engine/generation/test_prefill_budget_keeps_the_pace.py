import pytest

from services.engine.generation.page_pool import PagePool
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.scheduler import Scheduler
from tests.services.engine.generation.sequences import sequence

DECODE, TOKEN = 0.020, 0.0005
"""Seconds of a step that only decodes, and that each prompt token adds."""


def learned(most: int = 512, slowdown: float = 2.0, rows: int = 16) -> PrefillBudget:
    budget = PrefillBudget(most, slowdown)
    for _ in range(20):
        budget.observe(rows, 0, DECODE)
        budget.observe(rows, 32, DECODE + 32 * TOKEN)
    return budget


def test_while_nothing_decodes_a_step_takes_all_it_may() -> None:
    assert learned().tokens(0, 3) == 512
    assert PrefillBudget(100, 2.0).tokens(0, 1) == 100


def test_before_anything_is_known_it_takes_little() -> None:
    assert PrefillBudget(512, 2.0).tokens(4, 1) == 32
    assert PrefillBudget(20, 2.0).tokens(4, 1) == 20


@pytest.mark.parametrize("slowdown", [1.5, 1.7, 3.0])
def test_a_step_takes_as_much_longer_as_it_may(slowdown: float) -> None:
    tokens = learned(slowdown=slowdown).tokens(16, 1)
    assert DECODE + tokens * TOKEN == pytest.approx(slowdown * DECODE, rel=0.1)


def test_many_prompts_beside_few_rows_take_longer_in_proportion() -> None:
    budget = learned()
    assert budget.tokens(16, 5) == budget.tokens(16, 1)
    assert budget.tokens(16, 13) == pytest.approx(3 * budget.tokens(16, 1), rel=0.05)


def test_it_never_falls_below_what_pays_nor_rises_above_what_it_may() -> None:
    assert learned(slowdown=1.01).tokens(16, 1) == 16
    assert learned(most=40, slowdown=50.0).tokens(16, 1) == 40


def test_a_single_slow_step_changes_nothing() -> None:
    budget, usual = learned(), learned().tokens(16, 1)
    budget.observe(16, 0, 50 * DECODE)
    budget.observe(16, 32, 50 * DECODE)
    assert budget.tokens(16, 1) == pytest.approx(usual, rel=0.1)


def test_it_follows_tokens_that_become_dearer() -> None:
    budget = learned()
    for _ in range(20):
        budget.observe(16, 32, DECODE + 32 * 2 * TOKEN)
    assert budget.tokens(16, 1) == pytest.approx(learned().tokens(16, 1) / 2, abs=1)


def test_the_scheduler_keeps_a_long_prompt_from_stopping_the_streams() -> None:
    plan = Scheduler(PagePool(1000, 16), PrefillBudget(512, 2.0), max_sequences=8)
    plan.add(sequence([5] * 4))
    longest = 0.0
    for step in range(80):
        if step == 30:
            plan.add(sequence([5] * 2000, arrival=1.0))
        rows = plan.schedule()
        prompt = sum(row.token_count for row in rows if not row.decodes)
        seconds = DECODE * any(row.decodes for row in rows) + TOKEN * prompt
        plan.observe(rows, seconds)
        for row in rows:
            completes = row.completes
            plan.advance(row)
            if completes:
                row.sequence.token_ids.append(7)
        longest = max(longest, seconds if step >= 30 else 0.0)
    assert DECODE < longest <= 2.05 * DECODE
