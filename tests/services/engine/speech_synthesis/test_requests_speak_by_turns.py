"""The engine: fair turns, slow or leaving readers, deadlines, failures. Without a real model."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry

from sensorium.errors import (
    DeadlineExceeded,
    DeviceOutOfMemory,
    Internal,
    ModelNotReady,
    QueueFull,
    SensoriumError,
    SlowConsumer,
)
from services.engine import admission
from services.engine.admission import Admission, QueueLimits
from services.engine.metrics import EngineMetrics
from services.engine.speech_synthesis import engine
from services.engine.speech_synthesis.engine import SpeechEngine, SpeechLimits
from services.engine.speech_synthesis.speech import REST, Step
from services.engine.speech_synthesis.stream import SpeechStream
from tests.waiting import until

SAMPLES = 10


class Bench:
    """An engine with a log of its steps; time passes only in steps and by the tests."""

    def __init__(self, limits: SpeechLimits, queue: QueueLimits) -> None:
        self.registry = CollectorRegistry()
        self.engine = SpeechEngine(Admission(queue), EngineMetrics(self.registry), limits)
        self.steps: list[str] = []
        self.closed: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.now = 1000.0

    def speak(
        self,
        name: str,
        count: int,
        seconds: float = 0.0,
        *,
        sentence: int = 1,
        deadline: float | None = None,
        last: Any = None,
    ) -> SpeechStream:
        """Sends a request of `count` steps of `seconds` each, `sentence` steps to a sentence; then `last` happens."""
        ends = None if deadline is None else self.now + deadline
        return self.engine.speak(self._steps(name, count, seconds, sentence, last), 1, ends)

    def _steps(self, name: str, count: int, seconds: float, sentence: int, last: Any) -> Generator[Step, None, bool]:
        try:
            for i in range(count):
                if i and i % sentence == 0:
                    yield REST
                assert self.open.wait(60)
                self.now += seconds
                self.steps.append(name)
                yield torch.full((SAMPLES,), float(i)) if i % 2 == 0 else None
            if isinstance(last, Exception):
                raise last
            if last is not None:
                yield last
            return name == "cut"
        finally:
            self.closed.append(name)

    @property
    def running(self) -> float | None:
        return self.registry.get_sample_value("sensorium_engine_requests_running")

    def ended(self, reason: str) -> float:
        return self.registry.get_sample_value("sensorium_engine_requests_total", {"finish_reason": reason}) or 0.0


@asynccontextmanager
async def bench(requests: int = 99, **limits: Any) -> AsyncIterator[Bench]:
    running = Bench(SpeechLimits(**limits), QueueLimits(requests))
    clock = SimpleNamespace(monotonic=lambda: running.now)
    with pytest.MonkeyPatch.context() as patch:
        for module in (admission, engine):
            patch.setattr(module, "time", clock)
        running.engine.start()
        try:
            yield running
        finally:
            running.open.set()
            await asyncio.to_thread(running.engine.close)


async def heard(stream: SpeechStream) -> list[float]:
    """Returns the first sample of each piece."""
    return [float(sound[0]) async for sound in stream]


async def error_of(stream: SpeechStream) -> SensoriumError:
    with pytest.raises(SensoriumError) as found:
        await heard(stream)
    return found.value


async def test_a_request_is_heard_piece_by_piece_and_told_where_the_time_went() -> None:
    async with bench() as running:
        stream = running.speak("a", 5, 0.01)
        assert await heard(stream) == [0.0, 2.0, 4.0]
        end = stream.end
        assert end is not None
        times = end.times
        assert not end.cut
        told = (times.queue, times.time_to_first_output, times.compute, times.total)
        assert told == pytest.approx((0.0, 0.01, 0.05, 0.05)), "it waited for the rest"
        assert running.ended("completed") == 1
        stream = running.speak("cut", 1)
        assert len(await heard(stream)) == 1
        assert stream.end is not None and stream.end.cut


async def test_a_new_request_gets_the_next_step_and_then_an_equal_share() -> None:
    async with bench() as running:
        running.open.clear()
        first = asyncio.ensure_future(heard(running.speak("a", 30, 0.004)))
        await until(lambda: running.engine._speaking != [])
        second = asyncio.ensure_future(heard(running.speak("b", 6, 0.012)))
        running.open.set()
        await second
        steps = running.steps
        assert "b" in steps[:3]
        until_end = steps[: len(steps) - steps[::-1].index("b")]
        # Three of the short steps take as long as one of the others.
        assert 8 <= until_end.count("a") <= 26, steps
        await first


async def test_a_reader_that_is_slow_holds_its_own_request_and_nobody_else() -> None:
    async with bench(unread_samples=3 * SAMPLES) as running:
        slow = running.speak("slow", 100)
        await until(lambda: running.steps.count("slow") >= 5)
        assert await heard(running.speak("b", 7)) == [0.0, 2.0, 4.0, 6.0]
        assert running.steps.count("slow") == 5, "three pieces wait for the reader"
        assert (await anext(slow))[0] == 0.0
        await until(lambda: running.steps.count("slow") == 7)
        assert len(await heard(slow)) == 49
        assert running.ended("completed") == 2


async def test_a_slow_reader_keeps_his_turns_until_his_sentence_is_said() -> None:
    async with bench(speaking=1, unread_samples=SAMPLES) as running:
        running.open.clear()
        slow = running.speak("slow", 18, sentence=9)
        await until(lambda: running.engine._speaking != [])
        other = running.speak("b", 2)
        running.open.set()
        assert await heard(other) == [0.0]
        assert running.steps == ["slow"] * 9 + ["b"] * 2
        assert len(await heard(slow)) == 9


async def test_paused_requests_take_no_steps_and_resume_within_the_limit() -> None:
    async with bench(speaking=2, unread_samples=SAMPLES) as running:
        resting = {name: running.speak(name, 27, 0.001, sentence=9) for name in "abcdef"}
        await until(lambda: len(running.steps) == 6 * 9 and running.running == 0)
        running.open.clear()
        readers = [asyncio.ensure_future(heard(stream)) for stream in resting.values()]
        await until(lambda: not any(stream._pieces for stream in resting.values()))
        new = asyncio.ensure_future(heard(running.speak("new", 1)))
        running.open.set()
        assert [len(found) for found in await asyncio.gather(*readers)] == [14] * 6
        assert await new == [0.0]
    taken, amid = dict.fromkeys("abcdef", 9), 0
    for name in running.steps[6 * 9 :]:
        if name != "new":
            taken[name] += 1
            amid = max(amid, sum(count % 9 > 0 for count in taken.values()))
    assert amid == 2, "each that is within a sentence has a cache of the model's"


async def test_too_many_paused_requests_end_the_one_whose_reader_is_idle_longest() -> None:
    async with bench(resting=2, unread_samples=2 * SAMPLES) as running:
        streams: list[SpeechStream] = []
        for name in "abc":
            running.now += 1
            streams.append(running.speak(name, 27, sentence=9))
            if name == "b":
                await until(lambda: len(running.steps) == 18)
                running.now += 1
                await anext(streams[0])
                await until(lambda: not running.engine._read)
        await until(lambda: streams[1]._end is not None)
        assert isinstance(await error_of(streams[1]), SlowConsumer)
        assert running.closed == ["b"]
        assert [len(await heard(streams[i])) for i in (0, 2)] == [13, 14]
        assert running.ended("cancelled") == 1


async def test_leaving_ends_the_work() -> None:
    async with bench(unread_samples=3 * SAMPLES) as running:
        stream = running.speak("a", 10_000, 0.001)
        await anext(stream)
        stream.cancel()
        await until(lambda: running.closed == ["a"])
        taken = len(running.steps)
        assert await heard(running.speak("b", 1)) == [0.0]
        assert running.steps.count("a") <= taken < 5000
        stream.cancel()
        assert running.ended("cancelled") == 1


async def test_deadlines_end_requests_that_speak_wait_or_are_not_read() -> None:
    async with bench(speaking=1, unread_samples=5 * SAMPLES) as running:
        unread = running.speak("unread", 20, deadline=60)
        await until(lambda: len(running.steps) == 9)
        running.open.clear()
        reader = asyncio.ensure_future(error_of(running.speak("speaking", 10_000, deadline=60)))
        await until(lambda: len(running.engine._speaking) == 2)
        waiting = running.speak("waiting", 1, deadline=60)
        running.now += 60
        running.open.set()
        await until(lambda: running.ended("deadline_exceeded") == 3)
        errors = [await error_of(waiting), await error_of(unread), await reader]
        assert [type(error) for error in errors] == [DeadlineExceeded] * 3
        assert running.steps.count("unread") == 9
        assert running.steps[9:] == ["speaking"]
        assert running.closed.count("speaking") == 1


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (ValueError("a shape"), Internal),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), DeviceOutOfMemory),
        (torch.tensor([1.0, float("nan")]), Internal),
        (torch.tensor([float("inf")]), Internal),
    ],
)
async def test_a_failure_ends_one_request(last: Any, kind: type[SensoriumError]) -> None:
    async with bench() as running:
        other = asyncio.ensure_future(heard(running.speak("b", 21, 0.002)))
        stream = running.speak("a", 3, last=last)
        assert [float((await anext(stream))[0]) for _ in range(2)] == [0.0, 2.0]
        assert type(await error_of(stream)) is kind
        assert len(await other) == 11


@pytest.mark.usefixtures("uncollected")
async def test_a_stream_that_failed_waits_for_no_garbage_collector() -> None:
    async with bench() as running:
        stream = running.speak("a", 10_000, 0.01, deadline=0.05)
        with suppress(DeadlineExceeded):  # `pytest.raises` would keep the error, whose frames hold the stream
            await heard(stream)
        stream.cancel()  # as the verb does in any case
        held = weakref.ref(stream)
        del stream
        await until(lambda: held() is None)


async def test_only_so_many_speak_and_only_so_many_wait() -> None:
    async with bench(requests=3, speaking=2) as running:
        running.open.clear()
        streams = [running.speak("a", 40)]
        await until(lambda: running.engine.admission.requests == 0)
        streams += [running.speak(name, 40) for name in "bcd"]
        with pytest.raises(QueueFull):
            running.speak("e", 1)
        running.open.set()
        assert [len(found) for found in await asyncio.gather(*map(heard, streams))] == [20] * 4
        spoken = [
            {name for name in "abcd" if name in running.steps[i:] and name in running.steps[: i + 1]}
            for i in range(160)
        ]
        assert max(map(len, spoken)) == 2


async def test_closing_ends_all() -> None:
    async with bench(unread_samples=3 * SAMPLES) as running:
        streams = [running.speak(name, 10_000, 0.001) for name in "ab"]
        readers = [asyncio.ensure_future(error_of(stream)) for stream in streams]
        await until(lambda: {"a", "b"} <= set(running.steps))
        await asyncio.to_thread(running.engine.close)
        assert [type(error) for error in await asyncio.gather(*readers)] == [ModelNotReady] * 2
        with pytest.raises(ModelNotReady):
            running.speak("c", 1)
