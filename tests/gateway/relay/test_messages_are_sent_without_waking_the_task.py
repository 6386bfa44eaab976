"""Messages are sent without waking the call's task, which would be most of their cost, and lose nothing by it."""

import asyncio
from typing import Any

import pytest

from gateway.relay.delivery import Delivery
from gateway.relay.settings import RelaySettings
from gateway.relay.silence import Silence
from sensorium.errors import ModelNotReady
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import rig

REQUEST = text_pb2.StreamGenerateRequest(prompt="x")
TOKENS = 200


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages that were sent without waking the task."""
    found: list[bytes] = []
    pass_on = Delivery._pass_on

    def remembered(delivery: Delivery, message: bytes, silence: Silence) -> bool:
        before = silence._limit.when() if silence._limit else None
        taken = pass_on(delivery, message, silence)
        if taken:
            assert silence._limit is None or silence._limit.when() > before
            found.append(message)
        return taken

    monkeypatch.setattr(Delivery, "_pass_on", remembered)
    return found


async def read_tokens(call: Any, script: Script) -> list[int]:
    """Reads a stream whose script goes on once its first messages were read; returns its tokens."""
    assert script.pause is not None
    assert script.gate is not None
    await call.read()
    script.pause.set()
    tokens = [(await call.read()).delta.token_ids[0]]
    script.gate.set()
    while (event := await call.read()).HasField("delta"):
        tokens += event.delta.token_ids
    assert event.completed.usage.output_token_count == TOKENS
    return tokens


async def test_all_messages_arrive_in_order_and_are_counted(passed: list[bytes]) -> None:
    script = Script(tokens=TOKENS, gate=asyncio.Event(), pause=asyncio.Event())
    async with FakeTextService(script=script) as fake, rig(fake.address, token_gap_seconds=1000) as gateway:
        assert await read_tokens(gateway.text.StreamGenerate(REQUEST), script) == list(range(TOKENS))
        assert len(passed) > TOKENS / 2
        assert gateway.metric("gen_ai_server_time_to_first_token_seconds_count", model="tiny") == 1
        counted = {"task": "generate_text", "model": "tiny", "direction": "output", "modality": "text"}
        assert gateway.metric("sensorium_gateway_tokens_total", **counted) == TOKENS


async def test_another_endpoint_continues_after_them(passed: list[bytes]) -> None:
    script = Script(tokens=50, gate=asyncio.Event(), pause=asyncio.Event(), error=ModelNotReady("gone"))
    lost = FakeTextService(script=script, concurrency=100)
    other = FakeTextService(script=Script(tokens=TOKENS))
    async with lost, other, rig(lost.address, other.address) as gateway:
        assert await read_tokens(gateway.text.StreamGenerate(REQUEST), script) == list(range(TOKENS))
        assert len(passed) > 25
        assert list(other.seen[0].request.delivered[0].token_ids) == list(range(50))


async def test_each_message_restarts_the_silence_limit() -> None:
    silence = Silence(RelaySettings(token_gap_seconds=1000), generates=True)
    message: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(silence.within(message, first=False))
    await asyncio.sleep(0)
    assert silence._limit is not None
    before = silence._limit.when()
    await asyncio.sleep(0.01)
    silence.broken()
    assert silence._limit.when() > before
    message.set_result("next")
    assert await waiting == "next"
    silence.broken()  # without a running `within`
