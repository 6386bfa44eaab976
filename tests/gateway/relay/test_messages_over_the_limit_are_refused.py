import asyncio
from typing import Any

import grpc
import pytest

from gateway.endpoints.router import EndpointState
from sensorium.errors import ResourceExhausted
from sensorium.v1 import speech_pb2, text_pb2
from sensorium.v1.models_pb2 import TASK_STREAM_TRANSCRIBE
from tests.fakes.text_service import TASKS, FakeTextService, Script
from tests.gateway.rig import Rig, error_of, rig

OVERSIZE = 40 * 1024 * 1024


async def test_forty_megabytes_are_refused_and_a_stream_beside_them_goes_on():
    gate = asyncio.Event()
    async with FakeTextService(script=Script(tokens=5, gate=gate)) as fake, rig(fake.address) as gateway:
        stream = gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"))
        assert (await stream.read()).WhichOneof("event") == "started"
        error = await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["x" * OVERSIZE])))
        assert isinstance(error, ResourceExhausted)
        gate.set()
        events = []
        while (event := await stream.read()) is not grpc.aio.EOF:
            events.append(event.WhichOneof("event"))
        assert events == ["delta"] * 5 + ["completed"]
        assert (await stream.code()) is grpc.StatusCode.OK


async def test_an_answer_over_the_limit_is_refused():
    script = Script(tokens=2, text="x" * 70_000)
    async with FakeTextService(script=script) as fake, rig(fake.address, message_bytes=65536) as gateway:
        error = await error_of(gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x")))
        assert isinstance(error, ResourceExhausted)


@pytest.mark.parametrize("arity", ["call", "stream", "exchange"])
async def test_a_message_too_large_for_an_endpoint_is_the_callers_fault(arity: str):
    one, two = (FakeTextService(tasks=(*TASKS, TASK_STREAM_TRANSCRIBE), message_bytes=65536) for _ in range(2))
    async with one, two, rig(one.address, two.address) as gateway:
        for _ in range(12):
            assert isinstance(await error_of(_too_large(gateway, arity)), ResourceExhausted)
        assert gateway.metric("sensorium_gateway_attempts_total", result="error", reason="RESOURCE_EXHAUSTED") == 12
        assert all(endpoint.state is EndpointState.READY for endpoint in gateway.gateway.pool.endpoints)


def _too_large(gateway: Rig, arity: str) -> Any:
    if arity == "call":
        return gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["x" * 70_000]))
    if arity == "stream":
        return gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x" * 70_000))
    config = speech_pb2.StreamTranscribeRequest(config={"model": "tiny"})
    return gateway.speech.StreamTranscribe(iter([config, speech_pb2.StreamTranscribeRequest(audio=bytes(70_000))]))
