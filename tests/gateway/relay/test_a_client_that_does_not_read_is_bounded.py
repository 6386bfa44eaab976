import asyncio

from sensorium.errors import SlowConsumer
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.waiting import until

TEXT = "x" * 32_000
REQUEST = text_pb2.StreamGenerateRequest(prompt="x")


async def test_flow_control_reaches_the_endpoint():
    async with FakeTextService(script=Script(tokens=10_000, text=TEXT)) as fake, rig(fake.address) as gateway:
        call = gateway.text.StreamGenerate(REQUEST)
        await call.read()
        await until(lambda: fake.written > 1)
        held = -1
        while held != fake.written:
            held = fake.written
            await asyncio.sleep(0.5)
        assert held < 2_000
        call.cancel()
        await until(lambda: fake.running == 0)


async def test_a_stalled_stream_is_given_up():
    script = Script(tokens=10_000, text=TEXT)
    async with FakeTextService(script=script) as fake, rig(fake.address, stalled_client_seconds=0.5) as gateway:
        call = gateway.text.StreamGenerate(REQUEST)
        await call.read()
        await until(lambda: fake.running == 0 and bool(fake.ended))
        assert fake.written < script.tokens
        assert isinstance(await error_of(_rest(call)), SlowConsumer)


async def _rest(call) -> None:
    while True:
        await call.read()
