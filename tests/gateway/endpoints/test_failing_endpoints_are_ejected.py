"""An endpoint that fails its calls is left alone for a while, by a clock that tests move, and by a gateway."""

import time
from contextlib import suppress

import grpc
import pytest

from gateway.endpoints.ejection import Ejection
from gateway.endpoints.router import EndpointState
from sensorium.errors import InvalidArgument, ModelNotReady
from sensorium.v1 import text_pb2
from tests.fakes.cable import Cable
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.waiting import until

REQUEST = text_pb2.TokenizeRequest(texts=["a"])


class Clock:
    """A clock that a test advances."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _end(ejection: Ejection, *worked: bool | None, may_eject: bool = True) -> list[str]:
    """Sends it calls that end as given; returns the reasons of its ejections."""
    ends = [ejection.ended(each, ejection.dispatched(), lambda: may_eject) for each in worked]
    return [reason for reason in ends if reason]


def test_five_failures_in_a_row_eject(clock: Clock):
    ejection = Ejection(clock)
    assert _end(ejection, *[False] * 4, True, *[False] * 4) == []
    assert _end(ejection, False) == ["failures_in_a_row"]
    assert ejection.closed
    clock.now += 14.9
    assert ejection.closed
    clock.now += 0.2
    assert not ejection.closed


def test_over_half_of_ten_within_half_a_minute_eject(clock: Clock):
    ejection = Ejection(clock)
    assert _end(ejection, *[True, False] * 5) == []
    assert _end(ejection, False) == ["failure_ratio"]
    slow = Ejection(clock)
    for _ in range(20):
        clock.now += 4
        assert _end(slow, False, True, False) == []
        clock.now += 32


def test_calls_that_say_nothing_about_the_endpoint_do_not_count(clock: Clock):
    ejection = Ejection(clock)
    assert _end(ejection, *[None] * 50) == []
    assert _end(ejection, *[False, False, None] * 2) == []
    assert _end(ejection, False) == ["failures_in_a_row"]


def test_one_probe_at_a_time_decides(clock: Clock):
    ejection = Ejection(clock)
    _end(ejection, *[False] * 5)
    clock.now += 16
    assert ejection.dispatched()
    assert ejection.closed
    assert not ejection.dispatched()
    assert ejection.ended(None, True, bool) == ""
    assert not ejection.closed
    assert _end(ejection, False) == ["probe_failed"]
    clock.now += 29
    assert ejection.closed
    clock.now += 2
    assert _end(ejection, True) == []
    assert not ejection.closed


def test_calls_from_before_the_ejection_do_not_end_or_prolong_it(clock: Clock):
    ejection = Ejection(clock)
    _end(ejection, *[False] * 5)
    assert ejection.ended(True, False, lambda: True) == ""
    assert ejection.ended(False, False, lambda: True) == ""
    assert ejection.closed


def test_ejections_grow_to_five_minutes_and_are_forgotten(clock: Clock):
    ejection = Ejection(clock)
    _end(ejection, *[False] * 5)
    for times in range(2, 25):
        clock.now += min(15 * (times - 1), 300) + 0.1
        assert _end(ejection, False) == ["probe_failed"]
    clock.now += 299
    assert ejection.closed
    clock.now += 2
    _end(ejection, True)
    clock.now += 301
    _end(ejection, *[False] * 5)
    clock.now += 15.1
    assert not ejection.closed


def test_slow_start_begins_with_a_tenth_of_the_capacity(clock: Clock):
    ejection = Ejection(clock)
    assert ejection.share == 1
    _end(ejection, *[False] * 5)
    clock.now += 16
    _end(ejection, True)
    assert ejection.share == 0.1
    clock.now += 15
    assert ejection.share == 0.5
    clock.now += 100
    assert ejection.share == 1


def test_a_forbidden_ejection_happens_later(clock: Clock):
    ejection = Ejection(clock)
    assert _end(ejection, *[False] * 8, may_eject=False) == []
    assert _end(ejection, False) == ["failures_in_a_row"]


async def test_a_flapping_endpoint_is_ejected_and_no_caller_sees_an_error():
    flapping = FakeTextService(script=Script(error=ModelNotReady("flapping")), concurrency=100)
    one, two = FakeTextService(), FakeTextService()
    async with flapping, one, two, rig(flapping.address, one.address, two.address) as gateway:
        for _ in range(30):
            await gateway.text.Tokenize(REQUEST)
        endpoint = gateway.endpoint(flapping.address)
        assert endpoint.state is EndpointState.EJECTED
        assert (len(flapping.seen), len(one.seen) + len(two.seen)) == (5, 30)
        reason = {"pool": "default", "reason": "failures_in_a_row"}
        assert gateway.metric("sensorium_gateway_ejections_total", **reason) == 1
        assert gateway.metric("sensorium_gateway_endpoints", pool="default", state="ejected") == 1
        flapping.script.error = None
        endpoint.ejection.clock = lambda: time.monotonic() + 20
        for _ in range(10):
            await gateway.text.Tokenize(REQUEST)
        assert len(flapping.seen) > 5
        assert endpoint.state is EndpointState.READY


@pytest.mark.parametrize("instead", [None, b"\x0a\x05ab", b"\x1a\x02\x0a\x09"], ids=["none", "cut off", "bad usage"])
async def test_an_endpoint_that_answers_without_a_valid_message_is_ejected_and_no_caller_sees_an_error(instead):
    mute = FakeTextService(mute="/sensorium.v1.TextService/Tokenize", instead=instead, concurrency=100)
    other = FakeTextService()
    async with mute, other, rig(mute.address, other.address) as gateway:
        for _ in range(30):
            answer = await gateway.text.Tokenize(REQUEST)
            assert len(answer.results) == 1
        assert gateway.endpoint(mute.address).state is EndpointState.EJECTED
        assert (len(mute.seen), len(other.seen)) == (5, 30)
        assert gateway.metric("sensorium_gateway_attempts_total", result="retried", reason="NO_ANSWER") == 5


async def test_an_endpoint_that_ends_streams_early_is_ejected_and_no_caller_sees_an_error():
    leaving = FakeTextService(script=Script(tokens=2, completed=False), concurrency=100)
    async with leaving, FakeTextService() as other, rig(leaving.address, other.address) as gateway:
        for _ in range(10):
            events = [event async for event in gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"))]
            assert events[-1].HasField("completed")
        assert gateway.endpoint(leaving.address).state is EndpointState.EJECTED
        assert len(leaving.seen) == 5


async def test_at_most_half_of_a_pool_is_ejected():
    services = [FakeTextService(script=Script(error=ModelNotReady("ill"))) for _ in range(3)]
    async with services[0], services[1], services[2], rig(*(service.address for service in services)) as gateway:
        for _ in range(30):
            await error_of(gateway.text.Tokenize(REQUEST))
        assert sum(endpoint.state is EndpointState.EJECTED for endpoint in gateway.gateway.pool.endpoints) == 1


async def test_errors_of_callers_eject_no_endpoint():
    one, two = (FakeTextService(script=Script(error=InvalidArgument([], "no"))) for _ in range(2))
    async with one, two, rig(one.address, two.address) as gateway:
        for _ in range(30):
            await error_of(gateway.text.Tokenize(REQUEST))
        assert all(endpoint.state is EndpointState.READY for endpoint in gateway.gateway.pool.endpoints)


async def test_a_process_that_takes_the_place_of_an_ejected_one_is_not_ejected():
    ill, other = FakeTextService(script=Script(error=ModelNotReady("ill")), concurrency=100), FakeTextService()
    async with (
        other,
        Cable(other.port) as cable,
        rig(cable.address, other.address, probe_timeout_seconds=0.5) as gateway,
    ):
        async with ill:
            await cable.cut()
            await cable.mend(ill.port)
            endpoint = gateway.endpoint(cable.address)
            await until(lambda: endpoint.state is EndpointState.READY and endpoint.capacity == 100)
            while endpoint.state is not EndpointState.EJECTED:
                with suppress(grpc.aio.AioRpcError):  # if the other one was too slow to report its models
                    await gateway.text.Tokenize(REQUEST)
            ejected = time.monotonic()
            endpoint.ejection.clock = lambda: ejected  # however long the rest takes, its ejection is not over
            # It stops answering for a while, but is the same process.
            ill.answers.clear()
            await until(lambda: endpoint.health is EndpointState.CONNECTING)
            ill.answers.set()
            await until(lambda: endpoint.health is EndpointState.READY)
            assert endpoint.state is EndpointState.EJECTED
        await cable.cut()
        await until(lambda: endpoint.health is EndpointState.CONNECTING)
        await cable.mend(other.port)
        await until(lambda: endpoint.health is EndpointState.READY)
        assert endpoint.state is EndpointState.READY
