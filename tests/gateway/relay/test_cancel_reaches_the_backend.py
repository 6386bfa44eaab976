import asyncio

import pytest

from sensorium.errors import DeadlineExceeded
from sensorium.v1 import speech_pb2, text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.waiting import until


async def test_of_a_stream():
    async with FakeTextService(script=Script(gate=asyncio.Event())) as fake, rig(fake.address) as gateway:
        call = gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"))
        await call.read()
        await call.read()
        assert gateway.endpoint(fake.address).in_flight == 1
        call.cancel()
        await until(lambda: fake.running == 0)
        assert isinstance(fake.ended[0], asyncio.CancelledError | GeneratorExit)
        await until(lambda: gateway.endpoint(fake.address).in_flight == 0)
        await until(lambda: gateway.metric("sensorium_gateway_cancellations_total", phase="streaming") == 1)


async def test_of_a_call_without_a_stream():
    async with FakeTextService(script=Script(gate=asyncio.Event())) as fake, rig(fake.address) as gateway:
        call = gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]))
        await until(lambda: fake.running == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: fake.running == 0)
        counted = "sensorium_gateway_cancellations_total"
        await until(lambda: gateway.metric(counted, phase="before_first_message") == 1)


async def test_of_a_stream_of_requests():
    async with FakeTextService(tasks=(41,)) as fake, rig(fake.address) as gateway:
        call = gateway.speech.StreamTranscribe()
        await call.write(speech_pb2.StreamTranscribeRequest(config={"model": "tiny"}))
        await call.read()
        call.cancel()
        await until(lambda: fake.running == 0)


async def test_of_a_client_that_disconnects():
    async with FakeTextService(script=Script(gate=asyncio.Event())) as fake, rig(fake.address) as gateway:
        call = gateway.text.StreamGenerate(text_pb2.StreamGenerateRequest(prompt="x"))
        await call.read()
        await gateway.channel.close()
        await until(lambda: fake.running == 0)


async def test_a_deadline_passes_on_and_ends_the_call_everywhere():
    async with FakeTextService(script=Script(gate=asyncio.Event())) as fake, rig(fake.address) as gateway:
        while not any(seen.seconds_left for seen in fake.seen):  # unless the deadline passes on the way
            error = await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]), timeout=0.5))
            assert isinstance(error, DeadlineExceeded)
        assert all(seen.seconds_left < 0.6 for seen in fake.seen)
        await until(lambda: fake.running == 0)
        labels = {"task": "tokenize", "model": "tiny", "code": "DEADLINE_EXCEEDED"}
        await until(lambda: gateway.metric("sensorium_gateway_requests_total", **labels) >= 1)


async def test_no_deadline_stays_no_deadline():
    async with FakeTextService() as fake, rig(fake.address) as gateway:
        await gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"]))
        assert fake.seen[0].seconds_left is None
