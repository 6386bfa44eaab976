import asyncio

import grpc

from sensorium.errors import ResourceExhausted
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig

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
