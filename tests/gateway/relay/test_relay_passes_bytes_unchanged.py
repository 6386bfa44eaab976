import grpc
import pytest

from sensorium.rpc.http2 import frames
from sensorium.v1 import speech_pb2, text_pb2, text_pb2_grpc
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import rig
from tests.rpc.http2.wire import REQUEST, wire
from tests.rpc.peer import STREAM, UNARY


async def test_a_unary_answer_arrives_as_it_was_sent():
    request = text_pb2.TokenizeRequest(model="tiny", texts=["grün ist", "die 🌳"])
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        call = gateway.text.Tokenize(
            request, metadata=(("x-request-id", "r-1"), ("traceparent", "t"), ("authorization", "s"))
        )
        response = await call
        assert [[token.piece for token in result.tokens] for result in response.results] == [
            ["grün", "ist"],
            ["die", "🌳"],
        ]
        assert fake.seen[0].request == request
        assert dict(await call.initial_metadata())["x-sensorium-endpoint"] == fake.address
        assert dict(await call.initial_metadata())["x-request-id"] == "r-1"
        assert dict(await call.trailing_metadata())["x-fake"] == "trailing"


async def test_request_id_and_trace_reach_the_endpoint_and_credentials_do_not():
    metadata = (("x-request-id", "r-1"), ("traceparent", "t"), ("authorization", "secret"))
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        await gateway.text.Tokenize(text_pb2.TokenizeRequest(), metadata=metadata)
        seen = fake.seen[0].metadata
        assert (seen["x-request-id"], seen["traceparent"]) == ("r-1", "t")
        assert "authorization" not in seen


@pytest.mark.parametrize("state", ["a=1,\tb=2", "a=ü"])
@pytest.mark.parametrize("path", [UNARY, STREAM])
async def test_a_trace_context_that_cannot_be_sent_breaks_no_call(path: str, state: str):
    async with FakeTextService() as fake, rig(fake.address) as gateway, wire(gateway.gateway.server.port) as caller:
        caller.greet()
        headers = [(key, path if key == ":path" else value) for key, value in REQUEST]
        block = caller.block(headers, traceparent="t", tracestate=state)
        caller.send(frames.header_frames(1, block, 0, 16_384))
        caller.send(frames.frame(frames.DATA, frames.END_STREAM, 1, frames.prefixed(b"")))
        assert (await caller.trailers(1))["grpc-status"] == "0"
        assert fake.seen[0].metadata["traceparent"] == "t"
        assert "tracestate" not in fake.seen[0].metadata


async def test_a_stream_arrives_event_by_event():
    async with FakeTextService(script=Script(tokens=20, text="a b ")) as fake, rig(fake.address) as gateway:
        request = text_pb2.StreamGenerateRequest(prompt="x")
        async with grpc.aio.insecure_channel(fake.address) as channel:
            stub = text_pb2_grpc.TextServiceStub(channel)
            direct = [event.SerializeToString() async for event in stub.StreamGenerate(request)]
        call = gateway.text.StreamGenerate(request)
        relayed = [event.SerializeToString() async for event in call]
        assert relayed == direct
        assert len(relayed) == 22
        assert dict(await call.initial_metadata())["x-sensorium-endpoint"] == fake.address


async def test_a_stream_of_requests_reaches_the_endpoint_message_by_message():
    first = speech_pb2.StreamTranscribeRequest(config={"model": "tiny"})
    async with FakeTextService(tasks=(41,)) as fake, rig(fake.address) as gateway:
        call = gateway.speech.StreamTranscribe()
        await call.write(first)
        assert await call.read() == speech_pb2.StreamTranscribeResponse()
        for _ in range(10):
            await call.write(speech_pb2.StreamTranscribeRequest(audio=b"\0" * 640))
            await call.read()
        await call.done_writing()
        assert (await call.read()).HasField("completed")
        assert await call.read() is grpc.aio.EOF
        assert (await call.code()).name == "OK"


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_messages_up_to_the_limit_pass(size: int):
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        await gateway.text.Tokenize(text_pb2.TokenizeRequest(model="tiny", texts=["x" * size]))
        assert len(fake.seen[0].request.texts[0]) == size
