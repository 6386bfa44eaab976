import asyncio
import time

import grpc

from gateway.relay.retry_budget import RetryBudget
from sensorium.errors import ModelNotReady, QueueFull
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.waiting import until

STREAM = text_pb2.StreamGenerateRequest(prompt="x")
REQUEST = text_pb2.TokenizeRequest(texts=["a"])


def _granted(budget: RetryBudget, calls: int) -> int:
    return sum(budget.withdraw() for _ in range(calls))


def test_a_share_of_the_calls_and_one_per_second_may_be_retried():
    now = [0.0]
    budget = RetryBudget(0.25, lambda: now[0])
    assert _granted(budget, 100) == 10
    for _ in range(100):
        budget.deposit()
    assert _granted(budget, 100) == 25
    now[0] += 3
    assert _granted(budget, 100) == 3


def test_the_budget_is_capped():
    now = [0.0]
    budget = RetryBudget(1.0, lambda: now[0])
    now[0] += 1e6
    for _ in range(10_000):
        budget.deposit()
    assert _granted(budget, 1000) == 50


def test_a_ratio_of_zero_allows_none():
    assert _granted(RetryBudget(0.0, lambda: 0.0), 10) == 0


async def test_without_budget_the_first_failure_is_the_callers_answer():
    failing = FakeTextService(script=Script(error=ModelNotReady("ill")), concurrency=100)
    async with failing, FakeTextService() as other, rig(failing.address, other.address, retry_ratio=0) as gateway:
        assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), ModelNotReady)
        assert other.seen == []
        labels = {"result": "budget_exhausted", "reason": "UNAVAILABLE"}
        assert gateway.metric("sensorium_gateway_attempts_total", **labels) == 1


async def test_a_replica_that_is_full_sends_its_call_to_another():
    full = FakeTextService(script=Script(error=QueueFull("full", retry_after=1)), concurrency=100)
    async with full, FakeTextService() as other, rig(full.address, other.address) as gateway:
        await gateway.text.Tokenize(REQUEST)
        assert (len(full.seen), len(other.seen)) == (1, 1)
        labels = {"result": "retried", "reason": "RESOURCE_EXHAUSTED"}
        assert gateway.metric("sensorium_gateway_attempts_total", **labels) == 1


async def test_a_replica_filled_by_another_gateway_is_avoided_and_no_caller_sees_it():
    gate = asyncio.Event()
    one = FakeTextService(script=Script(gate=gate), concurrency=100, most=4)
    two = FakeTextService(script=Script(gate=gate), concurrency=100)
    async with one, two, rig(one.address) as theirs, rig(one.address, two.address) as ours:
        streams, begun = [], time.monotonic()
        for gateway, count in ((theirs, 4), (ours, 40)):
            for _ in range(count):
                stream = gateway.text.StreamGenerate(STREAM)
                assert (await stream.read()).HasField("started")
                streams.append(stream)
        assert (one.running, two.running) == (4, 40)
        # It is tried again every second, by one call each time.
        assert len(one.seen) - 4 <= time.monotonic() - begun + 1
        gate.set()
        for stream in streams:
            while await stream.read() is not grpc.aio.EOF:
                pass
        await until(lambda: not ours.endpoint(one.address).full)
        before = len(one.seen)
        for _ in range(20):
            stream = ours.text.StreamGenerate(STREAM)
            while await stream.read() is not grpc.aio.EOF:
                pass
        assert len(one.seen) > before
