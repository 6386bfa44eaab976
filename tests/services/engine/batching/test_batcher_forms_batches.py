import asyncio
import time

import pytest

from sensorium.errors import DeadlineExceeded, ModelNotReady, QueueFull
from services.engine.admission import QueueLimits
from services.engine.batching.queue import BatchLimits
from tests.services.engine.batching.bench import bench, items, pass_time, settle
from tests.waiting import until


async def test_what_waits_while_the_model_is_busy_goes_together() -> None:
    async with bench() as made:
        held = await made.hold()
        waiting = [made.run(items(i)) for i in range(5)]
        await settle()
        made.runner.open.set()
        computed = await asyncio.gather(held, *waiting)
        assert made.runner.batches == [["held"], [0, 1, 2, 3, 4]]
        assert [each.outputs for each in computed] == [[["held"]], *([[i]] for i in range(5))]
        assert all(each.times.total >= each.times.queue > 0 for each in computed[1:])


async def test_outputs_come_in_the_order_of_the_request_whatever_the_lengths() -> None:
    async with bench(limits=BatchLimits(items=3)) as made:
        wanted = [item for i in range(20) for item in items(i, length=1 + 37 * i % 11)]
        computed = await made.run(wanted)
        assert computed.outputs == [[i] for i in range(20)]
        assert all(len(batch) <= 3 for batch in made.runner.batches)


async def test_a_free_model_does_not_wait() -> None:
    async with bench() as made:
        began = time.monotonic()
        await made.run(items("a"))
        assert time.monotonic() - began < 30


async def test_a_batch_waits_for_more_only_as_long_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(wait_seconds=3600) as made:
        first, second, left = (made.run(items(name)) for name in "abc")
        await asyncio.sleep(0.1)
        assert made.runner.batches == []
        pass_time(monkeypatch, 3600)
        left.cancel()  # which lets the batcher look at its clock
        computed = await asyncio.gather(first, second)
        assert made.runner.batches == [["a", "b"]]
        assert all(each.times.queue > 3599 for each in computed)


async def test_a_full_batch_does_not_wait() -> None:
    async with bench(wait_seconds=60, limits=BatchLimits(items=4)) as made:
        await asyncio.wait_for(made.run(items(*range(4))), 30)
        assert made.runner.batches == [[0, 1, 2, 3]]


async def test_a_request_past_its_deadline_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as made:
        held = await made.hold()
        late, other = made.run(items("late"), seconds=3600), made.run(items("other"))
        await settle()
        pass_time(monkeypatch, 3600)
        made.runner.open.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await asyncio.gather(held, other)
        assert made.runner.batches == [["held"], ["other"]]
        assert made.metric("requests_total", finish_reason="deadline_exceeded") == 1


async def test_a_cancelled_request_never_runs() -> None:
    async with bench() as made:
        held = await made.hold()
        left, other = made.run(items("left", "left")), made.run(items("other"))
        await settle()
        left.cancel()
        await settle()
        made.runner.open.set()
        await asyncio.gather(held, other)
        assert made.runner.batches == [["held"], ["other"]]
        assert made.metric("requests_total", finish_reason="cancelled") == 1
        assert (made.batcher.admission.requests, made.batcher.admission.tokens) == (0, 0)


async def test_a_request_cancelled_half_way_stops_there() -> None:
    async with bench(limits=BatchLimits(items=2)) as made:
        held = await made.hold()
        left = made.run(items(*range(50)))
        await settle()
        left.cancel()
        await settle()
        made.runner.open.set()
        await held
        await made.run(items("after"))
        assert made.runner.batches == [["held"], ["after"]]


async def test_more_than_may_wait_is_refused() -> None:
    async with bench(queue=QueueLimits(requests=2, tokens=10)) as made:
        held = await made.hold()
        first = made.run(items("a", length=6))
        await settle()
        with pytest.raises(QueueFull):
            await made.run(items("b", length=6))
        made.runner.open.set()
        await asyncio.gather(held, first)


async def test_closing_ends_what_waits() -> None:
    async with bench() as made:
        held = await made.hold()
        waiting = made.run(items("a", "b"))
        await settle()
        closing = asyncio.create_task(asyncio.to_thread(made.batcher.close))
        await until(lambda: made.batcher._thread.closing)
        made.runner.open.set()
        await closing
        assert (await held).outputs == [["held"]]
        with pytest.raises(ModelNotReady):
            await waiting
        with pytest.raises(ModelNotReady):
            await made.run(items("c"))
        assert not made.batcher.trouble(0)


async def test_a_batch_that_does_not_end_is_told() -> None:
    async with bench() as made:
        assert not made.batcher.trouble(0)
        held = await made.hold()
        await asyncio.sleep(0.02)
        assert made.batcher.trouble(0.001)  # ten times as long, as it reads
        assert not made.batcher.trouble(60)
        made.runner.open.set()
        await held
