"""For each of the four arities and each way a call can end: what the caller sees and what the observer is told."""

import asyncio
import logging

import grpc
import pytest
from grpc import StatusCode

from sensorium.errors import QueueFull
from sensorium.status import from_rpc_error
from tests.rpc.peer import COLLECT, EXCHANGE, STREAM, UNARY, ended, nothing, peer
from tests.waiting import until

ARITIES = pytest.mark.parametrize("method", [UNARY, STREAM, COLLECT, EXCHANGE])


async def _refuse() -> None:
    raise QueueFull("full", retry_after=1)


async def _bug() -> None:
    raise ValueError("/secret/path")


async def _wait() -> None:
    await asyncio.Event().wait()


async def _escaping_cancellation() -> None:
    raise asyncio.CancelledError


@ARITIES
@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (nothing, StatusCode.OK),
        (_refuse, StatusCode.RESOURCE_EXHAUSTED),
        (_bug, StatusCode.INTERNAL),
        (_escaping_cancellation, StatusCode.INTERNAL),
    ],
)
async def test_a_code_is_sent_and_told(method: str, behaviour, code: StatusCode, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL)
    async with peer() as there:
        there.text.behaviour = behaviour
        assert await ended(there.call(method)) is code
        await until(lambda: there.record.ended == [(method, code)])
        assert there.record.began == [method]


@ARITIES
async def test_a_deadline_is_told_as_one(method: str):
    async with peer() as there:
        there.text.behaviour = _wait
        while not there.record.began:  # retried: the deadline may pass before the call reaches the server
            assert await ended(there.call(method, timeout=0.3)) is StatusCode.DEADLINE_EXCEEDED
        await until(lambda: set(there.record.ended) == {(method, StatusCode.DEADLINE_EXCEEDED)})


@ARITIES
async def test_a_cancellation_is_told_as_one(method: str):
    async with peer() as there:
        there.text.behaviour = _wait
        call = there.call(method, timeout=300)
        reading = asyncio.ensure_future(ended(call))
        await until(lambda: there.server.gate.inside == 1)
        call.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await until(lambda: there.record.ended == [(method, StatusCode.CANCELLED)])
        assert there.server.gate.inside == 0


@pytest.mark.parametrize("method", [UNARY, STREAM, EXCHANGE])
async def test_bytes_that_are_no_message_are_an_invalid_argument(method: str):
    async with peer() as there:
        for garbage in (b"\xff\xff", b"\x0a\x02\xff\xfe"):
            assert await ended(there.call(method, garbage)) is StatusCode.INVALID_ARGUMENT


async def test_a_bug_is_told_by_a_fixed_text_and_logged_with_its_request_id(caplog: pytest.LogCaptureFixture):
    async with peer() as there:
        there.text.behaviour = _bug
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await there.call(UNARY, metadata=(("x-request-id", "r-1"),))
        assert "secret" not in f"{caught.value}"
        assert "ValueError" not in f"{caught.value}"
        assert from_rpc_error(caught.value).request_id == "r-1"
        assert "ValueError: /secret/path" in caplog.text


async def test_a_generator_is_closed_before_its_call_is_told_to_have_ended():
    async with peer() as there:
        call = there.call(STREAM)
        there.text.behaviour = _wait
        await call.read()
        call.cancel()
        await until(lambda: bool(there.record.ended))
        assert there.text.closed == 1


async def test_a_method_that_is_not_there_is_unimplemented_and_not_told():
    async with peer() as there:
        for name in ("/sensorium.v1.TextService/Nothing", "/nobody/Nothing"):
            assert await ended(there.channel.unary_unary(name)(b"")) is StatusCode.UNIMPLEMENTED
            assert await ended(there.channel.stream_stream(name)(iter([b""]))) is StatusCode.UNIMPLEMENTED
        assert there.record.began == []
