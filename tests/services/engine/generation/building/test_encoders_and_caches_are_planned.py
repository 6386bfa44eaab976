"""What the scheduler does for models with an encoder, with caches of their own, and for prompts read whole."""

from typing import Any

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.requests.request import BeamParameters
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Sequence
from tests.services.engine.generation.sequences import sequence
from tests.services.engine.generation.test_scheduler_orders_rows import step


def plan(pages: int, tokens: int = 64, **planning: Any) -> tuple[Scheduler, PagePool]:
    pool = PagePool(pages, 16)
    return Scheduler(pool, PrefillBudget(tokens, 2.0), max_sequences=8, share_prefixes=False, **planning), pool


def reading(source: int, arrival: float = 0.0, **fields: Any) -> Sequence:
    """Returns the first sequence of a request whose encoder reads `source` tokens."""
    return sequence([2], source=[5] * source, arrival=arrival, **fields)


def test_a_prompt_that_is_read_at_once_is_not_cut() -> None:
    scheduler, _ = plan(100, tokens=16, whole_prompts=True)
    long, next_one = sequence([5] * 50), sequence([5] * 4, arrival=1.0)
    scheduler.add(long)
    scheduler.add(next_one)
    assert step(scheduler) == [(long, 50)]
    assert (next_one, 4) in step(scheduler)


def test_what_an_encoder_reads_is_part_of_the_budget_and_has_pages() -> None:
    scheduler, pool = plan(100, tokens=40)
    first, second, third = (reading(30, arrival=float(i)) for i in range(3))
    for one in (first, second, third):
        scheduler.add(one)
    assert step(scheduler) == [(first, 1), (second, 1)]  # the second begins within the budget and ends beyond it
    assert [len(one.source_pages) for one in (first, second, third)] == [2, 2, 0]
    assert pool.page_count - pool.free_count == 6
    for one in (first, second, third):
        scheduler.remove(one)
    assert pool.free_count == pool.page_count


def test_a_source_without_room_waits_and_holds_nothing() -> None:
    scheduler, pool = plan(5)
    small, large = reading(16), reading(60, arrival=1.0)
    scheduler.add(small)
    scheduler.add(large)
    assert step(scheduler) == [(small, 1)]
    assert (large.pages, large.source_pages) == ([], [])
    assert pool.free_count == 3
    scheduler.remove(small)
    assert step(scheduler) == [(large, 1)]


def test_a_preempted_sequence_gives_back_its_source_and_its_own_cache() -> None:
    scheduler, pool = plan(6)
    first, second = reading(16), reading(40, arrival=1.0)
    scheduler.add(first)
    scheduler.add(second)
    step(scheduler)
    second.state = object()
    assert pool.free_count == 0
    while first.remaining == 1 and len(first.token_ids) < 18:
        step(scheduler)
    assert scheduler.preemptions == 1
    assert (second.pages, second.source_pages, second.state, second.computed) == ([], [], None, 0)


def test_candidates_share_what_the_encoder_read() -> None:
    scheduler, pool = plan(20)
    lead = reading(40, candidate_count=3)
    scheduler.add(lead)
    (row,) = scheduler.schedule()
    scheduler.advance(row)
    pairs = scheduler.split(lead)
    assert len(pairs) == 2
    for _, follower in pairs:
        assert follower.source_pages == lead.source_pages
    assert pool.page_count - pool.free_count == 3 + 3  # the source once, and a page of output for each
    for one in lead.group.sequences:
        scheduler.remove(one)
    assert pool.free_count == pool.page_count


def test_caches_of_their_own_are_counted_for_each() -> None:
    scheduler, pool = plan(40, shares_pages=False)
    lead = reading(40, candidate_count=3)
    scheduler.add(lead)
    (row,) = scheduler.schedule()
    scheduler.advance(row)
    pairs = scheduler.split(lead)
    assert len(pairs) == 2
    assert pool.page_count - pool.free_count == 3 * (3 + 1)
    for one in lead.group.sequences:
        scheduler.remove(one)
    assert pool.free_count == pool.page_count


def test_beams_begin_only_where_all_have_room() -> None:
    beams = {"beams": BeamParameters(4)}
    shared, _ = plan(3 + 4)
    shared.add(reading(40, **beams))
    assert len(shared.schedule()) == 1
    apart, pool = plan(4 * (3 + 1) - 1, shares_pages=False)
    apart.add(reading(40, **beams))
    assert apart.schedule() == []
    assert pool.free_count == pool.page_count
