import asyncio
import random
import time
import weakref
from collections import deque
from contextlib import suppress

import pytest

from sensorium.errors import DeadlineExceeded, ModelNotReady, QueueFull, SlowConsumer
from services.engine.generation.group import PRIORITY_SECONDS, SequenceGroup
from services.engine.generation.output.stream import GenerationStream
from tests.services.bench import Bench, BenchMaker, eventually, first_delta, pass_time, prepare, read
from tests.services.engine.generation.lives import lived
from tests.services.fake_runner import FakeRunner, continuation


async def in_step(bench: Bench, number: int) -> None:
    """Returns once the engine is inside step `number`, counted from 1."""
    await eventually(lambda: len(bench.runner.seen) == number)


async def test_cancelling_frees_pages_and_row_within_one_step(fake: BenchMaker) -> None:
    bench = fake()
    bench.runner.hold()
    stream = bench.submit([10] * 20, max_new_tokens=1000)
    await in_step(bench, 1)
    other = bench.submit([11], max_new_tokens=4)
    bench.runner.permit()
    await in_step(bench, 2)
    stream.cancel()
    bench.runner.permit()
    await in_step(bench, 3)
    assert bench.runner.seen[2] == [(11, *continuation([11], 1))]
    bench.runner.free()
    assert (await read(other)).ids == continuation([11], 4)
    await eventually(lambda: bench.idle)
    assert bench.metric("requests_total", finish_reason="cancelled") == 1


async def test_cancelling_what_waits_means_it_never_runs(fake: BenchMaker) -> None:
    bench = fake(max_sequences=1)
    bench.runner.hold()
    running = bench.submit([10], max_new_tokens=3)
    await in_step(bench, 1)
    waiting = bench.submit([99], max_new_tokens=3)
    assert bench.engine.admission.requests == 1
    waiting.cancel()
    waiting.cancel()
    bench.runner.free()
    await read(running)
    await eventually(lambda: bench.idle)
    assert not any(row[0] == 99 for step in bench.runner.seen for row in step)


async def test_a_request_that_comes_and_is_cancelled_while_the_engine_looks_never_runs() -> None:
    class Late(deque[SequenceGroup]):
        """A queue whose first item arrives after the engine checks it and before it checks for cancellations."""

        def __bool__(self) -> bool:
            if not streams:
                streams.append(bench.submit([99]))
                streams[0].cancel()
                return False
            return len(self) > 0

    streams: list[GenerationStream] = []
    bench = prepare(FakeRunner(), 8, max_sequences=2, prefill_tokens=16, queue=4)
    bench.engine._new = Late()
    for _ in range(3):
        bench.engine._step()
    assert streams
    assert bench.runner.seen == []
    assert bench.idle


async def test_a_deadline_that_passes_in_the_queue_ends_a_request_that_never_ran(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake(max_sequences=1)
    bench.runner.hold()
    running = bench.submit([10], max_new_tokens=3)
    await in_step(bench, 1)
    waiting = bench.submit([99], max_new_tokens=3, deadline=time.monotonic() + 3600)
    pass_time(monkeypatch, 3600)
    bench.runner.free()
    with pytest.raises(DeadlineExceeded):
        await read(waiting)
    assert (await read(running)).ids == continuation([10], 3)
    assert not any(row[0] == 99 for step in bench.runner.seen for row in step)
    await eventually(lambda: bench.idle)


async def test_a_deadline_that_passes_while_running_ends_the_request_at_the_next_step(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake()
    bench.runner.hold()
    stream = bench.submit([10], max_new_tokens=1000, deadline=time.monotonic() + 3600)
    bench.runner.permit()
    await in_step(bench, 2)
    pass_time(monkeypatch, 3600)
    bench.runner.free()
    with pytest.raises(DeadlineExceeded):
        await read(stream)
    assert len(bench.runner.seen) == 2
    await eventually(lambda: bench.idle)
    assert bench.metric("requests_total", finish_reason="deadline_exceeded") == 1


async def test_every_deadline_ends_its_own_request_in_whatever_order_they_come(
    fake: BenchMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake()
    bench.runner.hold()
    now = time.monotonic()
    streams = [
        bench.submit([10 + hours], max_new_tokens=1000, deadline=now + 3600 * hours if hours else None)
        for hours in (3, 0, 1, 2)
    ]
    for hours, late in ((1, 2), (2, 3), (3, 0)):
        pass_time(monkeypatch, 3600 * hours)
        bench.runner.permit(2)  # the step that is held, and the first one after the deadline
        with pytest.raises(DeadlineExceeded):
            await read(streams[late])
        assert bench.metric("requests_total", finish_reason="deadline_exceeded") == hours
    streams[1].cancel()
    bench.runner.free()
    await eventually(lambda: bench.idle)


async def test_closing_ends_the_rest_and_takes_nobody_new(fake: BenchMaker) -> None:
    bench = fake(max_sequences=2)
    bench.runner.hold()
    streams = [bench.submit([10 + i], max_new_tokens=5000) for i in range(4)]
    bench.runner.permit(2)
    await first_delta(streams[0])
    closing = asyncio.create_task(asyncio.to_thread(bench.engine.close))
    await eventually(lambda: bench.engine._thread.closing)
    bench.runner.free()
    await closing
    for stream in streams:
        with pytest.raises(ModelNotReady):
            await read(stream)
    with pytest.raises(ModelNotReady):
        bench.submit([10])
    assert bench.pool.free_count == bench.pool.page_count
    assert bench.engine.admission.requests == 0


async def test_a_reader_too_slow_loses_its_row_and_nobody_elses(fake: BenchMaker) -> None:
    bench = fake()
    slow = bench.submit([10], max_new_tokens=100_000)
    await eventually(lambda: bench.metric("requests_total", finish_reason="cancelled") == 1)
    with pytest.raises(SlowConsumer):
        await read(slow)
    assert (await bench.run([11], max_new_tokens=3)).ids == continuation([11], 3)
    assert bench.idle


async def test_a_full_queue_refuses_and_recovers(fake: BenchMaker) -> None:
    bench = fake(max_sequences=1, queue=2)
    bench.runner.hold()
    running = bench.submit([10], max_new_tokens=2)
    await in_step(bench, 1)
    waiting = [bench.submit([11 + i], max_new_tokens=2) for i in range(2)]
    with pytest.raises(QueueFull):
        bench.submit([13], max_new_tokens=2)
    bench.runner.free()
    await asyncio.gather(*map(read, [running, *waiting]))
    assert (await bench.run([13], max_new_tokens=2)).ids == continuation([13], 2)


async def test_waiting_requests_start_by_priority_and_then_by_arrival(fake: BenchMaker) -> None:
    assert PRIORITY_SECONDS > 1  # far more than the milliseconds between these arrivals
    bench = fake(max_sequences=1)
    bench.runner.hold()
    streams = [bench.submit([10], max_new_tokens=1)]
    await in_step(bench, 1)
    for first, priority in ((11, 0), (12, 5), (13, -3), (14, 5)):
        streams.append(bench.submit([first], max_new_tokens=1, priority=priority))
    bench.runner.free()
    await asyncio.gather(*map(read, streams))
    assert [step[0][0] for step in bench.runner.seen] == [10, 12, 14, 11, 13]


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("end", ["complete", "left", "late"])
async def test_what_has_ended_waits_for_no_garbage_collector(
    fake: BenchMaker, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fake()
    bench.runner.hold()
    stream = bench.submit([10] * 20, max_new_tokens=5, deadline=time.monotonic() + 50)
    await in_step(bench, 1)
    if end == "late":
        pass_time(monkeypatch, 60)
    bench.runner.free()
    if end == "complete":
        await read(stream)
    elif end == "late":
        with suppress(DeadlineExceeded):  # `pytest.raises` would keep the error, and through its frames the stream
            await read(stream)
    stream.cancel()  # as RPC handlers always do at the end
    held = weakref.ref(stream)
    del stream
    await eventually(lambda: held() is None)


async def test_nothing_leaks_over_many_requests_that_end_in_every_way(real: BenchMaker) -> None:
    bench = real(pages=24, max_sequences=6, prefill_tokens=32)
    generator = random.Random(7)

    async def life(number: int) -> str:
        await asyncio.sleep(generator.random() * 0.5)
        prompt = [generator.randrange(6, 320) for _ in range(generator.randint(1, 60))]
        fields = {"max_new_tokens": generator.randint(1, 12), "priority": generator.randint(-10, 10)}
        if number % 3 == 0:
            fields |= {"temperature": 1.0, "seed": number}
        if number % 10 == 0:
            fields["deadline"] = time.monotonic() + generator.random() * 0.3
        return await lived(bench, prompt, fields, None if number % 4 else lambda: generator.random() * 0.2)

    ends = await asyncio.gather(*(life(number) for number in range(160)))
    await eventually(lambda: bench.idle)
    assert {"cancelled", "completed"} <= set(ends)
    assert "empty" not in ends
    assert bench.scheduler.running == bench.scheduler.waiting == []
    assert bench.metric("kv_cache_usage_ratio") == 0
    assert bench.metric("requests_waiting") == bench.metric("tokens_waiting") == 0
