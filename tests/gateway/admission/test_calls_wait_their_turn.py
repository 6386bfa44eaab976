"""The queue of a pool: order, bounds, deadlines, and cancelled calls."""

import asyncio
from typing import Any

import pytest

from sensorium.errors import DeadlineExceeded, QueueFull
from sensorium.v1 import speech_pb2, text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import Rig, error_of, rig
from tests.waiting import until


class Turnstile(asyncio.Event):
    """A gate that opens for one call at each `turn`."""

    def __init__(self) -> None:
        super().__init__()
        self._turns = asyncio.Semaphore(0)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self._turns.release()

    async def wait(self) -> Any:
        return await self._turns.acquire()


def _call(gateway: Rig, text: str, tenant: str = "", timeout: float | None = None) -> Any:
    request = text_pb2.StreamGenerateRequest(prompt=text)
    return gateway.text.StreamGenerate(request, metadata=(("x-tenant", tenant),), timeout=timeout)


async def _read(*calls: Any) -> None:
    for call in calls:
        async for _ in call:
            pass


def depth(gateway: Rig, pool: str = "default") -> int:
    bands = ("high", "normal", "low")
    return round(sum(gateway.metric("sensorium_gateway_queue_depth", pool=pool, priority=band) for band in bands))


def admissions(gateway: Rig, outcome: str) -> float:
    return gateway.metric("sensorium_gateway_admission_total", pool="default", outcome=outcome)


async def _line_up(gateway: Rig, *calls: tuple[str, str]) -> list[Any]:
    """Makes a call for each (text, tenant); each is in the queue before the next one is made."""
    waiting = []
    for text, tenant in calls:
        before = depth(gateway)
        waiting.append(_call(gateway, text, tenant))
        await until(lambda before=before: depth(gateway) == before + 1)
    return waiting


async def _let_through(fake: FakeTextService, gate: Turnstile, calls: list[Any]) -> list[str]:
    """Lets the calls end one by one; returns their texts in the order in which they reached the service."""
    for count in range(1, len(calls) + 1):
        gate.turn()
        await until(lambda count=count: len(fake.ended) == count)
    await _read(*calls)
    return [seen.request.prompt for seen in fake.seen]


async def test_a_hundred_callers_of_eight_slots_are_served_in_order_of_arrival():
    gate = Turnstile()
    fake = FakeTextService(script=Script(before=gate), concurrency=8)
    async with fake, rig(fake.address, over_commit=1) as gateway:
        calls = [_call(gateway, str(number)) for number in range(8)]
        await until(lambda: fake.running == 8)
        calls += await _line_up(gateway, *((str(number), "") for number in range(8, 100)))
        assert fake.running == 8
        assert gateway.metric("sensorium_gateway_pool_saturation", pool="default") == 100 / 8
        order = await _let_through(fake, gate, calls)
        assert order[8:] == [str(number) for number in range(8, 100)]
        assert (admissions(gateway, "direct"), admissions(gateway, "dispatched")) == (8, 92)
        assert depth(gateway) == 0


async def test_a_flood_of_one_tenant_does_not_starve_another():
    gate = Turnstile()
    fake = FakeTextService(script=Script(before=gate), concurrency=1)
    async with fake, rig(fake.address, over_commit=1) as gateway:
        calls = [_call(gateway, "first", "flood")]
        await until(lambda: fake.running == 1)
        calls += await _line_up(gateway, *((f"flood {number}", "flood") for number in range(20)))
        calls += await _line_up(gateway, *((f"rare {number}", "rare") for number in range(3)))
        order = await _let_through(fake, gate, calls)
        places = [order.index(f"rare {number}") for number in range(3)]
        assert places == [1, 3, 5], order
        flood = [text for text in order if text.startswith("flood")]
        assert flood == [f"flood {number}" for number in range(20)]


async def test_a_higher_priority_overtakes():
    gate = asyncio.Event()
    fake = FakeTextService(script=Script(before=gate), concurrency=1)
    async with fake, rig(fake.address, over_commit=1) as gateway:
        calls: list[Any] = []
        for place, priority in enumerate((0, 0, -5, 7)):
            calls.append(gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x", priority=priority)))
            await until(lambda place=place: fake.running == 1 and depth(gateway) == place)
        for band in ("high", "normal", "low"):
            assert gateway.metric("sensorium_gateway_queue_depth", pool="default", priority=band) == 1
        gate.set()
        await _read(*calls)
        assert [seen.request.priority for seen in fake.seen] == [0, 7, 0, -5]


async def test_a_full_queue_refuses_with_its_own_estimate():
    gate = Turnstile()
    fake = FakeTextService(script=Script(before=gate), concurrency=1)
    async with fake, rig(fake.address, over_commit=1, queue_requests=2) as gateway:
        calls = [_call(gateway, "running")]
        await until(lambda: fake.running == 1)
        calls += await _line_up(gateway, ("a", ""), ("b", ""))
        error = await error_of(_call(gateway, "c"))
        assert isinstance(error, QueueFull)
        assert error.metadata["queueDepth"] == "2"
        assert error.retry_after
        assert admissions(gateway, "full") == 1
        await _let_through(fake, gate, calls)
        await _turned(gate, _call(gateway, "d"))


async def _turned(gate: Turnstile, call: Any) -> None:
    gate.turn()
    await _read(call)


async def test_bytes_are_bounded_too():
    gate = Turnstile()
    fake = FakeTextService(script=Script(before=gate), concurrency=1)
    async with fake, rig(fake.address, over_commit=1, queue_bytes=1000) as gateway:
        calls = [_call(gateway, "running")]
        await until(lambda: fake.running == 1)
        calls += await _line_up(gateway, ("x" * 600, ""))
        assert isinstance(await error_of(_call(gateway, "x" * 600)), QueueFull)
        await _let_through(fake, gate, calls)


async def test_a_call_that_waits_too_long_gets_queue_full():
    fake = FakeTextService(script=Script(before=asyncio.Event()), concurrency=1)
    async with fake, rig(fake.address, over_commit=1, queue_seconds=0.2) as gateway:
        running = _call(gateway, "running")
        await until(lambda: fake.running == 1)
        error = await error_of(_call(gateway, "late"))
        assert isinstance(error, QueueFull)
        assert error.retry_after
        await until(lambda: admissions(gateway, "expired") == 1)
        assert depth(gateway) == 0
        running.cancel()


async def test_a_deadline_ends_the_wait_and_a_hopeless_one_is_refused_at_once():
    gate = Turnstile()
    fake = FakeTextService(script=Script(before=gate), concurrency=1)
    async with fake, rig(fake.address, over_commit=1) as gateway:
        for _ in range(5):
            call = _call(gateway, "taught")
            await until(lambda: fake.running == 1)
            await asyncio.sleep(0.2)
            await _turned(gate, call)
        calls = [_call(gateway, "running")]
        await until(lambda: fake.running == 1)
        assert isinstance(await error_of(_call(gateway, "passes", timeout=3)), DeadlineExceeded)
        await until(lambda: admissions(gateway, "deadline") == 1)
        calls += await _line_up(gateway, *((str(number), "") for number in range(40)))
        error = await error_of(_call(gateway, "hopeless", timeout=5))
        assert isinstance(error, DeadlineExceeded)
        assert "the queue takes about" in error.message
        assert admissions(gateway, "deadline") == 2
        assert len(fake.seen) == 6
        gate.turn(len(calls))
        await _read(*calls)


@pytest.mark.parametrize("leaving", [1, 30])
async def test_cancelled_calls_leave_the_queue_and_free_their_slots(leaving: int):
    gate = Turnstile()
    fake = FakeTextService(script=Script(before=gate), concurrency=2)
    async with fake, rig(fake.address, over_commit=1) as gateway:
        calls = [_call(gateway, "running") for _ in range(2)]
        await until(lambda: fake.running == 2)
        calls += await _line_up(gateway, *((str(number), "") for number in range(leaving + 3)))
        for call in calls[2 : leaving + 2]:
            call.cancel()
        await until(lambda: depth(gateway) == 3)
        assert admissions(gateway, "cancelled") == leaving
        await until(lambda: gateway.metric("sensorium_gateway_cancellations_total", phase="queue") == leaving)
        # Some are cancelled at the moment in which they get a slot.
        gate.turn(2)
        for call in calls[-3:]:
            call.cancel()
        await until(lambda: depth(gateway) == 0 and gateway.endpoint(fake.address).in_flight == 0)
        await _turned(gate, _call(gateway, "next"))
        await until(lambda: gateway.metric("sensorium_gateway_inflight_requests", pool="default") == 0)


async def test_live_audio_and_tokenize_neither_wait_nor_occupy_slots():
    fake = FakeTextService(tasks=(1, 11, 41), concurrency=1)
    async with fake, rig(fake.address, over_commit=1) as gateway:
        streams = [gateway.speech.StreamTranscribe() for _ in range(3)]
        for stream in streams:
            await stream.write(speech_pb2.StreamTranscribeRequest(config={"model": "tiny"}))
            await stream.read()
        assert gateway.metric("sensorium_gateway_inflight_requests", pool="default") == 3
        await _read(_call(gateway, "beside"))
        fake.script.before = asyncio.Event()
        running = _call(gateway, "running")
        await until(lambda: fake.running == 4)
        await gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["beside"]))
        fake.script.before.set()
        await _read(running)
        for stream in streams:
            await stream.done_writing()
