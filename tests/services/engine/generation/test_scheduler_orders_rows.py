import random

import pytest

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.group import PRIORITY_SECONDS
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.requests.request import BeamParameters
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence
from tests.services.engine.generation.sequences import sequence


def scheduler(*, pages: int = 100, max_sequences: int = 8, prefill_tokens: int = 64) -> tuple[Scheduler, PagePool]:
    pool = PagePool(pages, 16)
    return Scheduler(pool, PrefillBudget(prefill_tokens, 2.0), max_sequences=max_sequences), pool


def work(rows: list[Row[Sequence]]) -> None:
    """Updates the sequences as the engine does after a step."""
    for row in rows:
        completes = row.completes
        row.sequence.computed += row.token_count
        if completes:
            row.sequence.token_ids.append(7)


def step(scheduler: Scheduler) -> list[tuple[Sequence, int]]:
    rows = scheduler.schedule()
    work(rows)
    return [(row.sequence, row.token_count) for row in rows]


def test_nothing_waiting_means_no_rows() -> None:
    assert scheduler()[0].schedule() == []


def test_a_long_prompt_is_taken_in_chunks_behind_the_rows_that_decode() -> None:
    plan, _ = scheduler(prefill_tokens=10)
    short, long = sequence([5] * 4), sequence([5] * 25, arrival=1.0)
    plan.add(short)
    assert step(plan) == [(short, 4)]
    plan.add(long)
    assert [step(plan) for _ in range(4)] == [
        [(short, 1), (long, 10)],
        [(short, 1), (long, 10)],
        [(short, 1), (long, 5)],
        [(short, 1), (long, 1)],
    ]


def test_decoding_rows_do_not_use_up_the_prefill_budget_and_prompts_share_it() -> None:
    plan, _ = scheduler(prefill_tokens=10)
    first, second, third = (sequence([5] * 6, arrival=float(i)) for i in range(3))
    for one in (first, second, third):
        plan.add(one)
    assert step(plan) == [(first, 6), (second, 4)]
    assert step(plan) == [(first, 1), (second, 2), (third, 6)]


def test_an_uncompleted_chunk_completes_nothing() -> None:
    plan, _ = scheduler(prefill_tokens=10)
    plan.add(sequence([5] * 12))
    assert [row.completes for row in plan.schedule()] == [False]


def test_no_more_run_than_may() -> None:
    plan, _ = scheduler(max_sequences=2)
    for i in range(5):
        plan.add(sequence([5] * 3, arrival=float(i)))
    assert len(step(plan)) == 2
    assert len(plan.running) == 2
    assert len(plan.waiting) == 3


def test_sequences_come_in_by_arrival_whatever_the_order_they_were_added_in() -> None:
    plan, _ = scheduler(max_sequences=1)
    order = [sequence([5], arrival=float(i)) for i in range(4)]
    for one in (order[2], order[0], order[3], order[1]):
        plan.add(one)
    seen: list[Sequence] = []
    while rows := plan.schedule():
        seen.append(rows[0].sequence)
        plan.remove(rows[0].sequence)
    assert seen == order


def test_equal_order_keeps_the_order_of_adding() -> None:
    plan, _ = scheduler(max_sequences=1)
    order = [sequence([5]) for _ in range(4)]
    for one in order:
        plan.add(one)
    for one in order:
        assert plan.schedule()[0].sequence is one
        plan.remove(one)


def test_a_higher_priority_goes_first_and_only_within_its_bound_of_time() -> None:
    plan, _ = scheduler(max_sequences=1)
    patient = sequence([5], arrival=0.0)
    within = sequence([5], arrival=10 * PRIORITY_SECONDS - 1, priority=10)
    behind = sequence([5], arrival=10 * PRIORITY_SECONDS + 1, priority=10)
    humble = sequence([5], arrival=0.0, priority=-1)
    for one in (humble, behind, patient, within):
        plan.add(one)
    seen: list[Sequence] = []
    while rows := plan.schedule():
        seen.append(rows[0].sequence)
        plan.remove(rows[0].sequence)
    assert seen == [within, patient, behind, humble] or seen == [within, patient, humble, behind]
    assert seen.index(patient) < seen.index(behind)


def test_a_stream_of_urgent_requests_starves_nobody() -> None:
    plan, _ = scheduler(max_sequences=1)
    patient = sequence([5], arrival=0.0)
    plan.add(patient)
    plan.add(sequence([5], arrival=0.0, priority=10))
    for second in range(1, 1000):
        plan.add(sequence([5], arrival=float(second), priority=10))
        current = plan.schedule()[0].sequence
        plan.remove(current)
        if current is patient:
            assert second <= 10 * PRIORITY_SECONDS + 1
            return
    pytest.fail("the request of ordinary priority never ran")


def test_the_last_in_order_gives_its_pages_back_and_is_computed_anew() -> None:
    plan, pool = scheduler(pages=4)
    first, last = sequence([5] * 31), sequence([5] * 31, arrival=1.0)
    plan.add(first)
    plan.add(last)
    assert step(plan) == [(first, 31), (last, 31)]
    assert step(plan) == [(first, 1), (last, 1)]
    # 33 tokens need a third page each, and all four pages are taken.
    assert step(plan) == [(first, 1)]
    assert plan.preemptions == 1
    assert (last.computed, last.pages, plan.waiting, pool.free_count) == (0, [], [last], 1)
    plan.remove(first)
    assert step(plan) == [(last, 33)]


def test_a_sequence_that_is_itself_the_last_steps_back() -> None:
    plan, _ = scheduler(pages=3)
    first, last = sequence([5] * 20), sequence([5] * 16, arrival=1.0)
    plan.add(first)
    plan.add(last)
    assert len(step(plan)) == 2
    assert step(plan) == [(first, 1)]
    assert plan.waiting == [last]


def test_a_prompt_waits_until_all_of_it_has_room() -> None:
    plan, _ = scheduler(pages=3)
    small, large, tiny = sequence([5] * 20), sequence([5] * 20, arrival=1.0), sequence([5], arrival=2.0)
    for one in (small, large, tiny):
        plan.add(one)
    assert step(plan) == [(small, 20)]  # `tiny` would fit but does not overtake `large`
    plan.remove(small)
    assert step(plan) == [(large, 20), (tiny, 1)]


def test_a_sequence_can_be_removed_wherever_it_is() -> None:
    plan, pool = scheduler(max_sequences=2, prefill_tokens=8)
    decoding, prefilling, waiting, unknown = (sequence([5] * 6, arrival=float(i)) for i in range(4))
    for one in (decoding, prefilling, waiting):
        plan.add(one)
    step(plan)
    for one in (unknown, waiting, prefilling, decoding, decoding):
        plan.remove(one)
    assert (plan.running, plan.waiting, pool.free_count) == ([], [], pool.page_count)
    assert plan.schedule() == []


def test_every_rule_holds_over_a_random_life() -> None:
    generator = random.Random(3)
    plan, pool = scheduler(pages=12, max_sequences=5, prefill_tokens=16)
    live: set[Sequence] = set()
    done = 0
    for tick in range(3000):
        if tick < 2000 and generator.random() < 0.15:
            one = sequence([5] * generator.randint(1, 100), arrival=float(tick), priority=generator.randint(-10, 10))
            live.add(one)
            plan.add(one)
        rows = plan.schedule()
        assert bool(rows) == bool(live)
        assert sum(row.token_count for row in rows if row.sequence.remaining > 1) <= 16
        assert len(plan.running) <= 5
        assert [one.order for one in plan.running] == sorted(one.order for one in plan.running)
        assert all(len(row.sequence.pages) * 16 >= row.sequence.computed + row.token_count for row in rows)
        assert len({row.sequence for row in rows}) == len(rows)
        work(rows)
        for one in [one for one in live if one.output_count >= 20 or generator.random() < 0.002]:
            plan.remove(one)
            live.discard(one)
            done += 1
        if tick > 2000 and not live:
            break
    assert not live
    assert done > 200
    assert plan.preemptions > 0
    assert pool.free_count == 12


def split(plan: Scheduler, lead: Sequence) -> list[Sequence]:
    """Splits a group as the engine does once `lead` has computed the prompt; returns the other candidates."""
    lead.computed = len(lead.token_ids)
    followers = [follower for _, follower in plan.split(lead)]
    for one in lead.group.sequences:
        one.token_ids.append(7)
    return followers


def test_followers_share_full_pages_and_have_a_page_of_their_own_for_the_rest() -> None:
    plan, pool = scheduler()
    lead = sequence([5] * 40, candidate_count=3)
    plan.add(lead)
    assert [(row.sequence, row.token_count) for row in plan.schedule()] == [(lead, 40)]
    followers = split(plan, lead)
    assert plan.running == [lead, *reversed(followers)]
    assert len({one.pages[0] for one in plan.running}) == len({one.pages[1] for one in plan.running}) == 1
    assert len({one.pages[2] for one in plan.running}) == 3
    assert pool.page_count - pool.free_count == 2 + 3
    for one in plan.running.copy():
        plan.remove(one)
    assert pool.free_count == pool.page_count


def test_candidates_without_room_wait_in_front_of_later_requests() -> None:
    plan, pool = scheduler(pages=4, max_sequences=3)
    lead, later = sequence([5] * 20, candidate_count=5), sequence([5], arrival=1.0)
    plan.add(lead)
    plan.schedule()
    plan.add(later)
    assert len(split(plan, lead)) == 2  # limited by rows: there are pages for three
    assert pool.free_count == 0
    assert len(plan.waiting) == 3
    assert {row.sequence for row in plan.schedule()} == set(plan.running)
    plan.remove(lead)
    assert plan.schedule()[-1].sequence.group is lead.group


def test_a_search_keeps_rows_and_looks_for_pages_for_all_its_beams() -> None:
    plan, pool = scheduler(pages=6, max_sequences=5)
    small, search, later = (
        sequence([5] * 20),
        sequence([5] * 20, arrival=1.0, beams=BeamParameters(4)),
        sequence([5], arrival=2.0),
    )
    for one in (small, search, later):
        plan.add(one)
    # Four pages are left. The search needs five: one for the full page of its prompt and one for each beam.
    assert step(plan) == [(small, 20)]
    plan.remove(small)
    assert step(plan) == [(search, 20), (later, 1)]
    assert plan.waiting == []
    assert pool.free_count == 3


def test_beams_give_their_pages_back_together_and_come_back_behind_what_they_share() -> None:
    plan, pool = scheduler(pages=8, max_sequences=6)
    first, lead = sequence([5] * 17), sequence([5] * 20, arrival=1.0, beams=BeamParameters(3))
    plan.add(first)
    plan.add(lead)
    plan.schedule()
    first.computed, lead.computed = 17, 20
    first.token_ids.append(5)
    lead.group.sequences = [lead, lead.twin(7), lead.twin(8)]
    lead.token_ids.append(6)
    assert len(plan.split(lead)) == 2
    beams = plan.running[1:]
    assert len(beams) == 3
    while len(beams) == len(plan.running) - 1:
        plan.schedule()
        first.token_ids += [5] * 16
        first.computed += 16
    assert plan.running == [first]
    assert plan.waiting == [lead]
    assert plan.preemptions == 1
    assert [(one.pages, one.computed) for one in beams] == [([], 0)] * 3
    assert (lead.token_ids, lead.tail, len(lead.followers), lead.rows) == ([5] * 20, [6], 2, 3)
    assert pool.page_count - pool.free_count == len(first.pages)
