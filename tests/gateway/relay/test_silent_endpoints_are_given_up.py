import asyncio
from contextlib import suppress

import pytest

from gateway.relay.failure import EndpointSilent
from gateway.relay.settings import RelaySettings
from gateway.relay.silence import Silence
from sensorium.errors import BackendLost, DeadlineExceeded
from sensorium.rpc.http2 import frames
from sensorium.v1 import speech_pb2, text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import error_of, rig
from tests.rpc.http2.endpoint import Endpoint, endpoint
from tests.waiting import until

STREAM = text_pb2.StreamGenerateRequest(prompt="x")


async def test_an_endpoint_without_a_first_token_is_replaced():
    silent = FakeTextService(script=Script(before=asyncio.Event()), concurrency=100)
    async with (
        silent,
        FakeTextService() as other,
        rig(silent.address, other.address, first_token_seconds=3) as gateway,
    ):
        events = [event.WhichOneof("event") async for event in gateway.text.StreamGenerate(STREAM)]
        assert events == ["started", "delta", "delta", "delta", "completed"]
        assert (len(silent.seen), len(other.seen)) == (1, 1)
        await until(lambda: silent.running == 0)
        assert gateway.metric("sensorium_gateway_attempts_total", result="retried", reason="SILENT") == 1


async def test_time_in_which_the_caller_reads_nothing_does_not_count(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("gateway.relay.silence.perf_counter", lambda: now[0])
    silence = Silence(RelaySettings(first_token_seconds=60), generates=True)

    async def message(seconds: float) -> str:
        now[0] += seconds
        await asyncio.sleep(0)
        return "started"

    for _ in range(3):
        assert await silence.within(message(25), first=True) == "started"
        now[0] += 90
    with pytest.raises(EndpointSilent):
        await silence.within(message(0), first=True)


async def test_an_endpoint_that_stops_generating_ends_the_stream():
    async with (
        FakeTextService(script=Script(gate=asyncio.Event())) as fake,
        rig(fake.address, token_gap_seconds=0.3) as gateway,
    ):
        error = await error_of(gateway.text.StreamGenerate(STREAM))
        assert isinstance(error, BackendLost)
        await until(lambda: fake.running == 0)
        assert gateway.metric("sensorium_gateway_streams_broken_total", phase="streaming") == 1


async def test_live_audio_may_be_silent():
    limits = {"first_token_seconds": 0.1, "token_gap_seconds": 0.1}
    async with FakeTextService(tasks=(41,)) as fake, rig(fake.address, **limits) as gateway:
        call = gateway.speech.StreamTranscribe()
        await call.write(speech_pb2.StreamTranscribeRequest(config={"model": "tiny"}))
        await call.read()
        await asyncio.sleep(0.3)
        await call.write(speech_pb2.StreamTranscribeRequest(audio=b"00"))
        assert await call.read() == speech_pb2.StreamTranscribeResponse()
        await call.done_writing()


async def test_a_call_without_a_deadline_ends_after_call_seconds():
    async with (
        FakeTextService(script=Script(gate=asyncio.Event())) as fake,
        rig(fake.address, call_seconds=0.3) as gateway,
    ):
        while not any(seen.seconds_left for seen in fake.seen):  # unless the deadline passes on the way
            error = await error_of(gateway.text.Tokenize(text_pb2.TokenizeRequest(texts=["a"])))
            assert isinstance(error, DeadlineExceeded)
        assert all(seen.seconds_left < 0.4 for seen in fake.seen)
        await until(lambda: fake.running == 0)


async def test_a_health_watch_without_an_answer_is_cancelled():
    async with endpoint() as there:
        code = asyncio.ensure_future(_reset_code(there))
        async with rig(f"127.0.0.1:{there.port}", reachable=False, probe_timeout_seconds=0.2):
            assert await code == frames.ErrorCode.CANCEL.to_bytes(4)


async def _reset_code(there: Endpoint) -> bytes:
    """Returns the code with which the gateway resets a call that gets no answer."""
    while True:
        wire = await there.taken()
        with suppress(AssertionError):  # a connection that was closed before the HTTP/2 preface
            number = await wire.asked()
            assert wire.request[":path"] == "/grpc.health.v1.Health/Watch"
            return (await wire.until(frames.RST_STREAM, number))[1]
