"""StreamSynthesize for callers that read slowly, leave, or have a short deadline: others get the model's time."""

import asyncio
from pathlib import Path

import grpc
import pytest

from sensorium import AsyncClient, DeadlineExceeded
from sensorium.v1 import speech_pb2 as pb
from services.engine.speech_synthesis.engine import SpeechEngine
from services.engine.speech_synthesis.speech import Speech
from tests.e2e.stack import RunningService, speech_service
from tests.tiny.speakers import write_vits
from tests.waiting import until

LONG = "a quick brown fox jumps over the lazy dog. " * 100
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
STEPS = "sensorium_engine_steps_total"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_vits(tmp_path)


async def audio_of(client: AsyncClient, text: str, seed: int = 1) -> bytes:
    request = pb.StreamSynthesizeRequest(text=text, seed=seed)
    return b"".join([event.delta.audio async for event in client.speech.stream_synthesize(request)])


async def still(running: RunningService) -> float:
    """Waits until no more steps are made and returns their number."""
    before = -1.0
    while (steps := running.metric(STEPS)) != before:
        before = steps
        await asyncio.sleep(0.15)
    return steps


async def test_a_caller_that_does_not_read_takes_neither_memory_nor_the_model(folder: Path) -> None:
    asked = pb.StreamSynthesizeRequest(text=LONG).SerializeToString()
    async with (
        speech_service(folder, max_unread_seconds=2, stalled_client_seconds=1) as running,
        AsyncClient(running.address) as client,
        grpc.aio.insecure_channel(running.address, options=NARROW) as channel,
    ):
        expected = await audio_of(client, "what is it?")
        call = channel.unary_stream("/sensorium.v1.SpeechService/StreamSynthesize")(asked)
        await call.read()
        assert await still(running) < 200, "it went on speaking to nobody"
        assert await audio_of(client, "what is it?") == expected
        await until(lambda: running.metric("sensorium_engine_requests_running") == 0)
        await until(lambda: running.metric("sensorium_engine_requests_total", finish_reason="cancelled") == 1)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await audio_of(client, "what is it?") == expected


async def test_a_caller_that_reads_slowly_gets_all_of_it(folder: Path) -> None:
    text = "a quick brown fox. " * 6
    async with speech_service(folder, max_unread_seconds=0.1) as running, AsyncClient(running.address) as client:
        expected = await audio_of(client, text)
        found = b""
        async for event in client.speech.stream_synthesize(pb.StreamSynthesizeRequest(text=text, seed=1)):
            await asyncio.sleep(0.02)
            found += event.delta.audio
        assert found == expected


async def test_leaving_and_deadlines_end_the_work(folder: Path) -> None:
    async with speech_service(folder) as running, AsyncClient(running.address) as client:
        stream = client.speech.stream_synthesize(pb.StreamSynthesizeRequest(text=LONG))
        async for event in stream:
            if event.HasField("delta"):
                break
        await until(lambda: running.metric("sensorium_engine_requests_total", finish_reason="cancelled") == 1)
        await until(lambda: running.metric("sensorium_engine_requests_running") == 0)  # told behind the count
        whole = asyncio.ensure_future(client.speech.synthesize(pb.SynthesizeRequest(text=LONG)))
        await until(lambda: running.metric("sensorium_engine_requests_running") == 1)
        whole.cancel()
        await until(lambda: running.metric("sensorium_engine_requests_total", finish_reason="cancelled") == 2)
        with pytest.raises(DeadlineExceeded):
            await client.speech.synthesize(pb.SynthesizeRequest(text=LONG), timeout=0.3)
        await until(lambda: running.metric("sensorium_engine_requests_running") == 0)
        assert await still(running) < 1000


async def test_the_first_of_ten_sentences_is_heard_before_the_second_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for a request that comes while others speak."""
    taken: list[tuple[Speech, bool]] = []  # the request of each step, and whether it has had audio by then
    own = SpeechEngine._step

    def step(engine: SpeechEngine, speech: Speech) -> None:
        own(engine, speech)
        taken.append((speech, speech.timeline.first_output is not None))

    monkeypatch.setattr(SpeechEngine, "_step", step)
    async with speech_service(folder) as running, AsyncClient(running.address) as client:
        others = [asyncio.ensure_future(audio_of(client, LONG[:2000])) for _ in range(3)]
        await until(lambda: running.metric("sensorium_engine_requests_running") == 3)
        async for event in client.speech.stream_synthesize(pb.StreamSynthesizeRequest(text=LONG[:430])):
            if event.HasField("delta"):
                break
        await until(lambda: len(dict(taken)) == 4)
        *_, last = dict(taken)  # requests in order of arrival
        await until(lambda: dict(taken)[last])
        assert taken.index((last, True)) - [speech for speech, _ in taken].index(last) < 60
        assert not any(other.done() for other in others)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
