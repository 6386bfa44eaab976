"""Without waking the task of the call, which is most of what a message costs; and with all that it would have done."""

import asyncio
from typing import Any

import pytest

from gateway.delivery import Delivery
from gateway.relay_settings import RelaySettings
from gateway.silence import Silence
from sensorium.errors import ModelNotReady
from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import rig

REQUEST = text_pb2.StreamGenerateRequest(prompt="x")
TOKENS = 200


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Messages that were passed on so."""
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


async def told(call: Any, script: Script) -> list[int]:
    """Returns the tokens of a stream that goes on when its first ones are there; it ends with `completed`."""
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


async def test_all_come_in_their_order_and_are_counted(passed: list[bytes]) -> None:
    script = Script(tokens=TOKENS, gate=asyncio.Event(), pause=asyncio.Event())
    async with FakeTextService(script=script) as fake, rig(fake.address, token_gap_seconds=1000) as gateway:
        assert await told(gateway.text.StreamGenerate(REQUEST), script) == list(range(TOKENS))
        assert len(passed) > TOKENS / 2
        assert gateway.metric("gen_ai_server_time_to_first_token_seconds_count", model="tiny") == 1
        counted = {"task": "generate_text", "model": "tiny", "direction": "output", "modality": "text"}
        assert gateway.metric("sensorium_gateway_tokens_total", **counted) == TOKENS


async def test_another_endpoint_goes_on_behind_them(passed: list[bytes]) -> None:
    script = Script(tokens=50, gate=asyncio.Event(), pause=asyncio.Event(), error=ModelNotReady("gone"))
    lost = FakeTextService(script=script, concurrency=100)
    other = FakeTextService(script=Script(tokens=TOKENS))
    async with lost, other, rig(lost.address, other.address) as gateway:
        assert await told(gateway.text.StreamGenerate(REQUEST), script) == list(range(TOKENS))
        assert len(passed) > 25
        assert list(other.seen[0].request.delivered[0].token_ids) == list(range(50))


async def test_each_gives_the_next_one_its_time() -> None:
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
    silence.broken()  # nobody waits
