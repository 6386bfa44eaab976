"""If the endpoint of a stream of generated text is lost, its caller still sees one stream."""

import asyncio
from typing import Any

import grpc
import pytest

from gateway.relay.answer import AnswerShape
from gateway.relay.kept_bytes import KeptBytes
from gateway.relay.resumption import CannotGoOn, Resumption
from sensorium.errors import BackendLost, InvalidArgument, ModelNotReady, Violation
from sensorium.tasks import METHODS
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import Rig, error_of, rig

METHOD = METHODS["/sensorium.v1.TextService/StreamGenerate"]
REQUEST = text_pb2.StreamGenerateRequest(prompt="x", parameters={"temperature": 0.7})
LOST = ModelNotReady("gone")


def failing(tokens: int = 2, **changes: Any) -> FakeTextService:
    """Returns an endpoint that is chosen first, and fails after `tokens` tokens."""
    return FakeTextService(script=Script(tokens=tokens, error=LOST), **{"concurrency": 100} | changes)


def whole(tokens: int = 5, **changes: Any) -> FakeTextService:
    return FakeTextService(script=Script(tokens=tokens), **changes)


def resumes(gateway: Rig, result: str) -> float:
    return gateway.metric("sensorium_gateway_stream_resumes_total", result=result)


async def test_another_endpoint_continues_after_the_delivered_tokens() -> None:
    async with failing() as lost, whole() as other, rig(lost.address, other.address) as gateway:
        request = text_pb2.StreamGenerateRequest(
            prompt="x", parameters={"temperature": 0.7}, delivered=[{"candidate_index": 1, "token_ids": [9]}]
        )
        # One token is delivered already, so the endpoints skip one.
        events = [event async for event in gateway.text.StreamGenerate(request)]
        assert [event.WhichOneof("event") for event in events] == ["started", *["delta"] * 4, "completed"]
        assert [event.delta.token_ids[0] for event in events[1:-1]] == [1, 2, 3, 4]
        assert events[0].started.seed == lost.port
        asked = other.seen[0].request
        assert (asked.prompt, asked.parameters.seed) == ("x", lost.port)
        assert asked.parameters.temperature == pytest.approx(0.7)
        assert {known.candidate_index: list(known.token_ids) for known in asked.delivered} == {0: [1], 1: [9]}
        assert resumes(gateway, "resumed") == 1
        assert gateway.metric("sensorium_gateway_attempts_total", result="resumed", reason="UNAVAILABLE") == 1
        assert gateway.metric("sensorium_gateway_streams_broken_total", phase="streaming") == 0


async def test_a_second_one_that_is_lost_is_replaced_too() -> None:
    async with failing(2) as first, failing(4, concurrency=50) as second, whole() as third:
        async with rig(first.address, second.address, third.address) as gateway:
            events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
            assert resumes(gateway, "resumed") == 2
        assert [event.delta.token_ids[0] for event in events[1:-1]] == [0, 1, 2, 3, 4]
        assert list(third.seen[0].request.delivered[0].token_ids) == [0, 1, 2, 3]


async def test_an_endpoint_that_drops_a_call_is_lost_to_it() -> None:
    dropping = FakeTextService(script=Script(tokens=2, status=grpc.StatusCode.CANCELLED), concurrency=100)
    async with dropping, whole() as other, rig(dropping.address, other.address) as gateway:
        events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
        assert [event.delta.token_ids[0] for event in events[1:-1]] == [0, 1, 2, 3, 4]
    async with dropping, rig(dropping.address) as gateway:
        assert isinstance(await error_of(gateway.text.StreamGenerate(REQUEST)), BackendLost)


@pytest.mark.parametrize("tokens", [0, 2])
async def test_an_endpoint_that_ends_a_stream_before_it_is_complete_is_lost_to_it(tokens: int) -> None:
    leaving = FakeTextService(script=Script(tokens=tokens, completed=False), concurrency=100)
    async with leaving, whole() as other, rig(leaving.address, other.address) as gateway:
        events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
        assert [event.WhichOneof("event") for event in events] == ["started", *["delta"] * 5, "completed"]
        assert [event.delta.token_ids[0] for event in events[1:-1]] == [0, 1, 2, 3, 4]
        result = "resumed" if tokens else "retried"
        assert gateway.metric("sensorium_gateway_attempts_total", result=result, reason="NO_ANSWER") == 1
    async with leaving, rig(leaving.address) as gateway:
        assert isinstance(await error_of(gateway.text.StreamGenerate(REQUEST)), BackendLost)
        broken = gateway.metric("sensorium_gateway_streams_broken_total", phase="streaming")
        assert broken == (1 if tokens else 0)


async def test_a_successor_that_ends_at_once_is_replaced_too() -> None:
    mute = FakeTextService(script=Script(tokens=0, completed=False), concurrency=50)
    async with failing() as lost, mute, whole() as other:
        async with rig(lost.address, mute.address, other.address) as gateway:
            events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
            assert gateway.metric("sensorium_gateway_attempts_total", result="resumed", reason="NO_ANSWER") == 1
        assert [event.delta.token_ids[0] for event in events[1:-1]] == [0, 1, 2, 3, 4]
        assert len(mute.seen) == 1


@pytest.mark.parametrize("resume_mib", [0, 64])
async def test_a_stream_that_lost_only_its_status_is_complete(resume_mib: int) -> None:
    late = FakeTextService(script=Script(status=grpc.StatusCode.UNAVAILABLE, late=True))
    async with late, rig(late.address, resume_mib=resume_mib) as gateway:
        events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
        assert events[-1].HasField("completed")


async def test_without_another_endpoint_the_stream_breaks() -> None:
    async with failing() as lost, rig(lost.address) as gateway:
        assert isinstance(await error_of(gateway.text.StreamGenerate(REQUEST)), ModelNotReady)
        assert resumes(gateway, "no_endpoint") == 1
        assert gateway.metric("sensorium_gateway_streams_broken_total", phase="streaming") == 1


async def test_another_revision_does_not_continue() -> None:
    async with failing() as lost, whole() as other, rig(lost.address, other.address, refresh_seconds=600) as gateway:
        other.revision = "r2"  # which it has not reported yet
        assert isinstance(await error_of(gateway.text.StreamGenerate(REQUEST)), BackendLost)
        assert resumes(gateway, "refused") == 1
        assert other.running == 0


async def test_endpoints_of_another_revision_are_not_asked() -> None:
    # In a roll-out these are new and idle, so they would be chosen first and use up the attempts.
    one, two = (whole(revision="r2", concurrency=50) for _ in range(2))
    old = failing(), whole(concurrency=1)
    async with old[0], old[1], one, two, rig(*(each.address for each in (*old, one, two))) as gateway:
        events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
    assert [event.delta.token_ids[0] for event in events[1:-1]] == [0, 1, 2, 3, 4]
    assert not one.seen and not two.seen


async def test_a_successors_refusal_is_not_the_callers_fault() -> None:
    refusing = FakeTextService(script=Script(tokens=0, error=InvalidArgument([Violation("delivered", "no")])))
    async with failing() as lost, refusing, rig(lost.address, refusing.address) as gateway:
        assert isinstance(await error_of(gateway.text.StreamGenerate(REQUEST)), BackendLost)
        assert resumes(gateway, "refused") == 1


async def test_a_resumed_request_over_the_message_limit_is_not_sent() -> None:
    async with failing() as lost, whole() as other:
        request = text_pb2.StreamGenerateRequest(prompt="x" * 1024, parameters={"temperature": 0.7})
        most = request.ByteSize() + 4  # less than the delivered tokens take
        async with rig(lost.address, other.address, message_bytes=most) as gateway:
            assert isinstance(await error_of(gateway.text.StreamGenerate(request)), ModelNotReady)
            assert resumes(gateway, "too_large") == 1
        assert len(other.seen) == 0


async def test_a_silent_endpoint_is_replaced_in_mid_stream() -> None:
    silent = FakeTextService(script=Script(gate=asyncio.Event()), concurrency=100)
    async with silent, whole() as other, rig(silent.address, other.address, token_gap_seconds=3) as gateway:
        events = [event async for event in gateway.text.StreamGenerate(REQUEST)]
        assert [event.delta.token_ids[0] for event in events[1:-1]] == [0, 1, 2, 3, 4]


async def test_resuming_can_be_turned_off() -> None:
    async with failing() as lost, whole() as other:
        async with rig(lost.address, other.address, resume_mib=0) as gateway:
            await error_of(gateway.text.StreamGenerate(REQUEST))
        assert other.seen == []


def message(**event: Any) -> bytes:
    return text_pb2.StreamGenerateResponse(**event).SerializeToString()


def test_memory_is_bounded_over_all_streams_and_released() -> None:
    room = KeptBytes(1000)
    with Resumption(METHOD, b"", room) as first, Resumption(METHOD, b"", room) as second:
        for _ in range(4):
            first.keep(message(delta={"text": "x" * 100}))
        assert not first.hindrance(1000)
        second.keep(message(delta={"text": "x" * 400}))
        assert second.hindrance(1000) == "not_kept"
        held = room.held
        second.keep(message(delta={"text": ""}))
        assert room.held == held
    assert room.held == 0


def test_an_unreadable_stream_is_not_resumed() -> None:
    with Resumption(METHOD, b"", KeptBytes(1000)) as resumption:
        resumption.keep(b"\xff\xff")
        with pytest.raises(CannotGoOn):
            resumption.request()


def test_completed_is_found_anywhere_in_a_message() -> None:
    shape, unknown = AnswerShape.of(METHOD), b"\x78\x01"
    assert shape.closes(message(completed={}))
    assert shape.closes(unknown + message(completed={}) + unknown)
    assert not any(shape.closes(last) for last in (b"", unknown, b"\xff", message(delta={"text": "x"})))


def test_every_stream_of_the_contract_has_a_completed_event() -> None:
    streams = [method for method in METHODS.values() if method.response_is_stream]
    assert streams and all(AnswerShape.of(method).completed for method in streams)
