import asyncio
from typing import Any

import grpc
import pytest

from sensorium.errors import (
    BackendLost,
    DeviceOutOfMemory,
    Internal,
    InvalidArgument,
    QueueFull,
    TaskNotSupported,
    Violation,
)
from sensorium.status import STATUS_KEY, from_rpc_error, to_status
from sensorium.v1 import speech_pb2, speech_pb2_grpc, text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig

RICH = [
    InvalidArgument([Violation("parameters.top_p", "must be in (0, 1]"), Violation("texts[3]", "is empty – überall")]),
    QueueFull("64 requests are waiting.", metadata={"queueDepth": "64"}, retry_after=1.5),
    DeviceOutOfMemory("Not enough memory."),
]


@pytest.mark.parametrize("error", RICH, ids=lambda error: error.reason)
async def test_status_details_of_a_call_are_not_touched(error):
    async with FakeTextService(script=Script(error=error)) as fake, rig(fake.address) as gateway:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]), metadata=(("x-request-id", "r-1"),))
        assert caught.value.code() is error.code
        assert dict(caught.value.trailing_metadata())[STATUS_KEY] == to_status(error, "r-1").SerializeToString()
        assert dict(caught.value.initial_metadata())["x-request-id"] == "r-1"
        assert dict(caught.value.initial_metadata())["x-sensorium-endpoint"] == fake.address


async def test_an_error_within_a_stream_comes_after_its_messages():
    script = Script(tokens=4, error=DeviceOutOfMemory("Not enough memory."))
    async with FakeTextService(script=script) as fake, rig(fake.address) as gateway:
        call = gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"))
        events = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for event in call:
                events.append(event.WhichOneof("event"))
        assert events == ["started", *["delta"] * 4]
        assert isinstance(from_rpc_error(caught.value), DeviceOutOfMemory)


async def test_an_error_is_not_lost_while_the_caller_still_sends():
    config = speech_pb2.StreamTranscribeRequest(config={"model": "tiny"})
    audio = speech_pb2.StreamTranscribeRequest(audio=b"\0" * 6400)

    def ask(target: str) -> set[str]:
        # A blocking client: the asyncio one may replace the status of a call that ends while it writes.
        with grpc.insecure_channel(target) as channel:
            transcribe = speech_pb2_grpc.SpeechServiceStub(channel).StreamTranscribe
            return {_reason(transcribe(iter([config, *[audio] * 50]))) for _ in range(100)}

    fake = FakeTextService(tasks=(41,), script=Script(error=QueueFull("full")))
    async with fake, rig(fake.address) as gateway:
        target = f"127.0.0.1:{gateway.gateway.server.port}"
        assert await asyncio.to_thread(ask, target) == {"QUEUE_FULL"}
        assert len(fake.seen) == 100


def _reason(call: Any) -> str:
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return from_rpc_error(error).reason
    return "OK"


async def test_a_bug_of_a_service_is_internal_without_its_text():
    async with FakeTextService(script=Script(error=KeyError("/secret/path"))) as fake, rig(fake.address) as gateway:
        error = await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"])))
        assert isinstance(error, Internal)
        assert "secret" not in str(error)
        assert error.request_id


async def test_a_call_that_ends_without_its_message_is_a_fault_of_the_endpoint():
    async with FakeTextService(mute="/sensorium.v1.TextService/Tokenize") as fake, rig(fake.address) as gateway:
        call = gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]))
        assert isinstance(await error_of(call), BackendLost)
        assert dict(await call.initial_metadata())["x-sensorium-endpoint"] == fake.address


async def test_live_audio_that_ends_before_it_is_complete_is_a_fault_of_the_endpoint():
    config = speech_pb2.StreamTranscribeRequest(config={"model": "tiny"})
    async with FakeTextService(tasks=(41,), script=Script(completed=False)) as fake, rig(fake.address) as gateway:
        assert isinstance(await error_of(gateway.speech.StreamTranscribe(iter([config]))), BackendLost)


@pytest.mark.parametrize("request_bytes", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x12\x02\xff\xfe"])
async def test_garbage_is_an_invalid_argument(request_bytes):
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        for shape in ("unary_unary", "unary_stream"):
            method = "/sensorium.v1.TextService/" + ("Tokenize" if shape == "unary_unary" else "StreamGenerate")
            call = getattr(gateway.channel, shape)(method)(request_bytes)
            assert isinstance(await error_of(call), InvalidArgument)


async def test_garbage_in_a_stream_of_requests_is_an_invalid_argument():
    async with FakeTextService(tasks=(41,)) as fake, rig(fake.address) as gateway:
        call = gateway.channel.stream_stream("/sensorium.v1.SpeechService/StreamTranscribe")
        assert isinstance(await error_of(call(iter([b"\x0a\x09\x0a"]))), InvalidArgument)
        assert isinstance(await error_of(call(iter([]))), InvalidArgument)


async def test_a_method_nobody_has_is_unimplemented():
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        for shape in ("unary_unary", "unary_stream"):
            error = await error_of(getattr(gateway.channel, shape)("/sensorium.v1.TextService/Nothing")(b""))
            assert isinstance(error, TaskNotSupported)


async def test_no_endpoint_does_not_reveal_addresses():
    async with rig("127.0.0.1:9", reachable=False, startup_seconds=5) as gateway:
        error = await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"])))
        assert error.reason == "NO_ENDPOINT"
        assert error.retry_after
        assert "127.0.0.1" not in error.message
