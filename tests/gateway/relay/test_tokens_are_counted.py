"""Usage is found in the answers of every method and counted, with the time per output token."""

import asyncio

import pytest

from gateway.relay.answer import AnswerShape
from sensorium.rpc.wire import Malformed
from sensorium.tasks import METHODS
from sensorium.v1 import text_pb2
from sensorium.v1.common_pb2 import Usage
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import rig
from tests.waiting import until

REQUEST = text_pb2.StreamGenerateRequest(prompt="x")
TOKENS = "sensorium_gateway_tokens_total"


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_usage_is_found_in_every_answer_of_the_contract(method):
    shape, answer = AnswerShape.of(method), method.response_type()
    usage = Usage(input_token_count=7, output_token_count=300, image_count=2)
    (answer.completed if method.response_is_stream else answer).usage.CopyFrom(usage)
    assert shape.usage(answer.SerializeToString()) == usage


def test_other_messages_and_damaged_ones_have_none():
    shape = AnswerShape.of(METHODS["/sensorium.v1.TextService/StreamGenerate"])
    completed = text_pb2.StreamGenerateResponse(completed={"usage": {"output_token_count": 3}}).SerializeToString()
    delta = text_pb2.StreamGenerateResponse(delta={"text": "x"}).SerializeToString()
    assert shape.usage(completed) is not None
    for message in (b"", delta, b"\x10\x00" * 20_000):
        assert shape.usage(message) is None
    for message in (completed[:-1], b"\xff" + completed, b"\x1a\x04\x12\x02\x08\xff"):
        with pytest.raises(Malformed):
            shape.usage(message)


async def test_tokens_and_the_time_per_token_after_the_first_are_counted():
    async with FakeTextService(script=Script(tokens=5)) as fake, rig(fake.address) as gateway:
        async for _ in gateway.text.StreamGenerate(REQUEST):
            pass
        labels = {"task": "generate_text", "model": "tiny", "modality": "text"}
        await until(lambda: gateway.metric(TOKENS, direction="output", **labels) == 5)
        assert gateway.metric(TOKENS, direction="input", **labels) == 7
        assert gateway.metric("gen_ai_server_time_per_output_token_seconds_count", model="tiny") == 1
        assert gateway.metric("gen_ai_server_request_duration_seconds_count", model="tiny") == 1


async def test_a_pools_capacity_and_load_are_gauged():
    gate = asyncio.Event()
    one, two = (FakeTextService(script=Script(gate=gate), concurrency=4) for _ in range(2))
    async with one, two, rig(f"text={one.address}", f"text={two.address}") as gateway:
        assert gateway.metric("sensorium_gateway_pool_capacity", pool="text") == 8
        assert 0 < gateway.metric("sensorium_gateway_load_report_age_seconds", pool="text", endpoint=one.address) < 30
        streams = [gateway.text.StreamGenerate(REQUEST) for _ in range(2)]
        for stream in streams:
            await stream.read()
        assert gateway.metric("sensorium_gateway_inflight_requests", pool="text") == 2
        assert gateway.metric("sensorium_gateway_pool_saturation", pool="text") == 0.25
        two.server.health.retire()
        await until(lambda: gateway.metric("sensorium_gateway_pool_capacity", pool="text") == 4)
        gate.set()


async def test_a_tenant_is_charged_the_calls_actual_tokens():
    async with FakeTextService(script=Script(tokens=5)) as fake, rig(fake.address) as gateway:
        for _ in range(6):
            async for _ in gateway.text.StreamGenerate(REQUEST, metadata=(("x-tenant", "a"),)):
                pass
        (lane,) = gateway.gateway.admission._lanes.values()
        await until(lambda: lane.running == 0)
        assert lane.tokens.value == 12
        assert lane.shares.account("a") == 6 * 12
