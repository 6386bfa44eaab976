import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest

from gateway.endpoints.router import EndpointState
from sensorium.errors import BackendLost, DeviceOutOfMemory, ModelNotReady, Unavailable
from sensorium.status import from_rpc_error
from sensorium.v1 import models_pb2, speech_pb2, text_pb2
from tests.fakes.cable import Cable
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.waiting import until

REQUEST = text_pb2.TokenizeRequest(texts=["a"])
STREAM = text_pb2.StreamGenerateRequest(prompt="x")


async def test_a_stream_whose_endpoint_is_lost_ends_with_backend_lost():
    async with (
        FakeTextService(script=Script(gate=asyncio.Event()), concurrency=100) as fake,
        Cable(fake.port) as cable,
        FakeTextService() as other,
        rig(cable.address, other.address, resume_mib=0) as gateway,
    ):
        call = gateway.text.StreamGenerate(STREAM)
        await call.read()
        await call.read()
        assert fake.running == 1
        await cable.cut()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        error = from_rpc_error(caught.value)
        assert isinstance(error, BackendLost)
        assert "127.0.0.1" not in error.message
        assert other.seen == []
        labels = {"result": "lost", "reason": "UNAVAILABLE"}
        assert gateway.metric("sensorium_gateway_attempts_total", **labels) == 1
        assert gateway.metric("sensorium_gateway_streams_broken_total", phase="streaming") == 1


async def test_a_call_lost_before_its_answer_goes_to_another_endpoint():
    first = FakeTextService(script=Script(gate=asyncio.Event()), concurrency=100)
    async with (
        first,
        Cable(first.port) as cable,
        FakeTextService() as second,
        rig(cable.address, second.address) as gateway,
    ):
        call = gateway.text.Tokenize(REQUEST)
        await until(lambda: first.running == 1)
        await cable.cut()
        await call
        assert dict(await call.initial_metadata())["x-sensorium-endpoint"] == second.address
        assert len(second.seen) == 1
        labels = {"result": "retried", "reason": "UNAVAILABLE"}
        assert gateway.metric("sensorium_gateway_attempts_total", **labels) == 1


async def test_unavailable_is_retried_elsewhere_and_other_errors_are_not():
    refusing = FakeTextService(script=Script(error=ModelNotReady("draining")), concurrency=100)
    async with refusing, FakeTextService() as other, rig(refusing.address, other.address) as gateway:
        await gateway.text.Tokenize(REQUEST)
        assert (len(refusing.seen), len(other.seen)) == (1, 1)
        refusing.script.error = DeviceOutOfMemory("no")
        assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), DeviceOutOfMemory)
        assert (len(refusing.seen), len(other.seen)) == (2, 1)


async def test_a_call_is_tried_three_times_at_most():
    services = [FakeTextService(script=Script(error=ModelNotReady("draining"))) for _ in range(4)]
    async with AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(service)).address for service in services]
        gateway = await stack.enter_async_context(rig(*addresses))
        assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), ModelNotReady)
        assert sum(len(service.seen) for service in services) == 3


async def test_a_stream_of_requests_is_replayed_from_its_first_message():
    async with (
        FakeTextService(tasks=(41,), concurrency=100) as first,
        FakeTextService(tasks=(41,)) as second,
        rig(first.address, second.address) as gateway,
    ):
        first.server.gate.close()
        call = gateway.speech.StreamTranscribe()
        await call.write(speech_pb2.StreamTranscribeRequest(config={"model": "tiny"}))
        assert await call.read() == speech_pb2.StreamTranscribeResponse()
        await call.write(speech_pb2.StreamTranscribeRequest(audio=b"00"))
        assert await call.read() == speech_pb2.StreamTranscribeResponse()
        await call.done_writing()
        assert (await call.read()).HasField("completed")
        assert await call.read() is grpc.aio.EOF
        assert (len(first.seen), len(second.seen)) == (0, 1)


async def test_an_endpoint_that_returns_gets_work_again():
    async with FakeTextService() as fake, Cable(fake.port) as cable, rig(cable.address) as gateway:
        await gateway.text.Tokenize(REQUEST)
        await cable.cut()
        await until(lambda: gateway.endpoint(cable.address).state is EndpointState.CONNECTING)
        error = await error_of(gateway.text.Tokenize(REQUEST))
        assert isinstance(error, Unavailable)
        assert error.retry_after
        await cable.mend()
        await until(lambda: gateway.endpoint(cable.address).state is EndpointState.READY)
        await gateway.text.Tokenize(REQUEST)


async def test_a_draining_endpoint_finishes_its_work_and_gets_no_more():
    gate = asyncio.Event()
    draining = FakeTextService(script=Script(gate=gate), concurrency=100)
    async with draining, FakeTextService() as other, rig(draining.address, other.address) as gateway:
        call = gateway.text.StreamGenerate(STREAM)
        await call.read()
        assert draining.running == 1
        draining.server.health.retire()
        await until(lambda: gateway.endpoint(draining.address).state is EndpointState.NOT_SERVING)
        for _ in range(5):
            await gateway.text.Tokenize(REQUEST)
        assert (len(draining.seen), len(other.seen)) == (1, 5)
        gate.set()
        while await call.read() is not grpc.aio.EOF:
            pass
        assert await call.code() is grpc.StatusCode.OK


async def test_a_loading_model_is_not_ready_and_then_is():
    async with FakeTextService(state=models_pb2.MODEL_STATE_LOADING, tasks=()) as fake, rig(fake.address) as gateway:
        error = await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(model="tiny", texts=["a"])))
        assert isinstance(error, ModelNotReady)
        assert error.retry_after
        fake.state, fake.tasks = models_pb2.MODEL_STATE_READY, (models_pb2.TASK_TOKENIZE,)
        await until(lambda: gateway.gateway.pool.endpoints[0].models["tiny"].ready)
        await gateway.text.Tokenize(REQUEST)


async def test_an_endpoint_that_stops_answering_gets_no_calls():
    async with FakeTextService() as fake, rig(fake.address, probe_timeout_seconds=0.3) as gateway:
        # The connection and the health watch stay up; only requests for the models get no answer.
        fake.answers.clear()
        await until(lambda: gateway.endpoint(fake.address).state is EndpointState.CONNECTING)
        fake.answers.set()
        await until(lambda: gateway.endpoint(fake.address).state is EndpointState.READY)


async def test_an_endpoint_that_lists_no_models_is_not_used(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("INFO")
    mute = FakeTextService(mute="/sensorium.v1.ModelService/ListModels")
    async with mute, rig(mute.address, reachable=False) as gateway:
        await until(lambda: len(mute.seen) > 2)
        endpoint = gateway.endpoint(mute.address)
        assert (endpoint.state, endpoint.learned) == (EndpointState.CONNECTING, False)
        assert caplog.text.count(f"{mute.address} cannot be reached: the call ended without its answer") == 1


async def test_the_log_says_once_why_an_endpoint_is_not_reached(caplog: pytest.LogCaptureFixture):
    """And not that it is ready, which static discovery says of every endpoint."""
    caplog.set_level("INFO", "gateway")
    async with FakeTextService() as fake, Cable(fake.port) as cable:
        await cable.cut()
        async with rig(cable.address, reachable=False) as gateway:
            message = f"{cable.address} cannot be reached: "
            await until(lambda: message in caplog.text)
            await cable.mend()
            await until(lambda: gateway.endpoint(cable.address).learned)
            await cable.cut()
            await until(lambda: caplog.text.count(message) == 2)
            lines = [record.getMessage() for record in caplog.records if cable.address in record.getMessage()]
            assert "Connection refused" in lines[1]
            assert lines[2] == f"{cable.address} is ready"
            assert lines[3].startswith(message)
