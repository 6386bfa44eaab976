"""Whose items are next, and which go together."""

import random
from itertools import pairwise

import pytest

from services.engine.batching.queue import BatchLimits, Entry, ItemQueue
from tests.services.engine.batching.bench import job

LIMITS = BatchLimits(items=8, length=64, padding=0.2, small=16)


def taken(queue: ItemQueue, limits: BatchLimits = LIMITS) -> list[Entry]:
    return queue.take(limits)


def test_a_small_request_is_in_the_next_batch_beside_one_of_200_items() -> None:
    queue, large, small = ItemQueue(), job(*[5] * 200), job(5)
    queue.add(large)
    for _ in range(3):
        assert {entry.job for entry in taken(queue)} == {large}
    queue.add(small)
    assert small in {entry.job for entry in taken(queue)}
    assert len(queue) == 200 - 4 * 8 + 1


def test_requests_of_other_lengths_take_turns_by_tokens() -> None:
    queue, long, short = ItemQueue(), job(*[60] * 10), job(*[6] * 100)
    queue.add(long)
    queue.add(short)
    tokens = {long: 0, short: 0}
    while queue:
        batch = taken(queue)
        if len(queue.jobs) == 2:
            for entry in batch:
                tokens[entry.job] += entry.item.length
            assert abs(tokens[long] - tokens[short]) <= 2 * LIMITS.length
        assert len({entry.job for entry in batch}) == 1, "their lengths differ too much to share a batch"


def test_who_comes_late_gets_no_more_than_who_was_there() -> None:
    """Nothing is owed for the time before a request came."""
    queue, first, second = ItemQueue(), job(*[60] * 20), job(*[60] * 20)
    queue.add(first)
    for _ in range(10):
        taken(queue)
    queue.add(second)
    order = [entry.job for _ in range(8) for entry in taken(queue)]
    assert 3 <= order.count(second) <= 5


def test_a_steady_stream_of_small_requests_does_not_starve_a_large_one() -> None:
    queue, large = ItemQueue(), job(*[60] * 5)
    queue.add(large)
    batches = 0
    while large in queue.jobs:
        queue.add(job(6))
        taken(queue)
        batches += 1
        assert batches < 100


def test_batches_keep_to_the_limits_and_take_each_item_once() -> None:
    chance, queue = random.Random(0), ItemQueue()
    jobs = [job(*chance.choices(range(1, 100), k=chance.randint(1, 30)), kind=number % 2) for number in range(20)]
    for each in jobs:
        queue.add(each)
    seen: list[tuple[int, int]] = []
    while queue:
        batch = taken(queue)
        lengths = [entry.item.length for entry in batch]
        padded = len(batch) * max(lengths)
        assert len(batch) <= LIMITS.items
        assert len(batch) == 1 or padded <= LIMITS.length
        assert padded <= LIMITS.small or padded - sum(lengths) <= LIMITS.padding * padded
        assert len({entry.item.kind for entry in batch}) == 1
        seen += [(jobs.index(entry.job), entry.index) for entry in batch]
    assert sorted(seen) == [(i, index) for i, each in enumerate(jobs) for index in range(len(each.items))]


def test_items_of_like_length_go_together() -> None:
    queue = ItemQueue()
    queue.add(job(*[30, 2, 29, 3, 2, 30, 3]))
    batches = [sorted(entry.item.length for entry in taken(queue)) for _ in range(4)]
    assert [30, 30] in [batch[-2:] for batch in batches if batch]
    for batch in batches:
        assert all(longer <= 2 * shorter for shorter, longer in pairwise(batch))


def test_an_item_longer_than_a_batch_may_be_goes_alone() -> None:
    queue = ItemQueue()
    queue.add(job(500, 500, 3))
    sizes = [[entry.item.length for entry in taken(queue)] for _ in range(3)]
    assert sorted(sizes) == [[3], [500], [500]]
    assert taken(queue) == []


def test_dropped_requests_leave_the_others() -> None:
    queue, gone, left = ItemQueue(), job(1, 2, 3, kind="a"), job(1, kind="b")
    queue.add(gone)
    queue.add(left)
    queue.drop(gone)
    queue.drop(gone)
    assert queue.jobs == [left]
    assert [entry.job for entry in taken(queue)] == [left]
    assert not queue


@pytest.mark.parametrize("count", [1, 2])
def test_the_longest_wait_is_the_oldest_requests(count: int) -> None:
    queue = ItemQueue()
    assert queue.longest_wait == float("inf")
    for arrival in range(count):
        queue.add(job(1, arrival=5.0 + arrival))
    assert queue.longest_wait == 5.0
