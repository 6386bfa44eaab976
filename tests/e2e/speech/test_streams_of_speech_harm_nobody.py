"""StreamTranscribe with callers that send invalid messages, stop, leave, do not read, or are silent."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from sensorium import DeadlineExceeded, InvalidArgument, SensoriumError
from sensorium.v1 import speech_pb2 as pb
from tests.e2e.live_audio import AUDIO, TWO, config, events_of, finals, requests, sent
from tests.e2e.stack import RunningStack, speech_stack
from tests.tiny.audio_models import write_ctc_model
from tests.vowels import RATE
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ctc_model(tmp_path_factory.mktemp("one"), "wav2vec2")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(one_folder: Path) -> AsyncIterator[RunningStack]:
    async with speech_stack(one_folder) as running:
        yield running


async def test_one_utterance_completes_a_stream_that_goes_on(stack: RunningStack) -> None:
    def endless() -> Iterator[pb.StreamTranscribeRequest]:
        yield from requests(AUDIO, single_utterance=True)
        while True:
            yield pb.StreamTranscribeRequest(audio=bytes(3200))

    for _ in range(3):
        events = await events_of(stack.client, endless())
        assert len(finals(events)) == 1
        assert events[-1].HasField("completed")


ODD = AUDIO + b"x"
NAN = np.full(1000, np.nan, "<f4").tobytes()
WRONG: dict[str, tuple[list[pb.StreamTranscribeRequest], set[str]]] = {
    "nothing": ([], {"config"}),
    "audio first": ([pb.StreamTranscribeRequest(audio=AUDIO)], {"config"}),
    "two configs": ([config(), config()], {"config"}),
    "an empty message": ([config(), pb.StreamTranscribeRequest()], {"audio"}),
    "half a sample": (list(requests(ODD)), {"audio"}),
    "no number": (list(requests(NAN, encoding=pb.AUDIO_ENCODING_FLOAT32)), {"audio"}),
    "wrong in many ways": (
        [
            config(
                encoding=pb.AUDIO_ENCODING_MP3,
                channel_count=0,
                prompt="Hello",
                language="no tag at all",
                endpointing={"speech_threshold": 2, "min_silence_duration": {"seconds": -1}},
            )
        ],
        {
            "config.encoding",
            "config.channel_count",
            "config.prompt",
            "config.language",
            "config.endpointing.speech_threshold",
            "config.endpointing.min_silence_duration",
        },
    ),
}


async def test_what_is_wrong_is_refused_and_harms_no_neighbour(stack: RunningStack) -> None:
    neighbour = asyncio.create_task(events_of(stack.client, requests(AUDIO, interim_results=True), pace=4))
    for case, (messages, fields) in WRONG.items():
        with pytest.raises(InvalidArgument) as refused:
            await events_of(stack.client, iter(messages))
        assert {violation.field for violation in refused.value.violations} == fields, case
    with pytest.raises(InvalidArgument):
        await events_of(stack.client, iter([]))
    assert len(finals(await neighbour)) == 2
    await closed(stack)


async def closed(stack: RunningStack) -> None:
    await until(lambda: stack.service.metric("sensorium_engine_live_streams") == 0)
    await until(lambda: stack.service.metric("sensorium_engine_requests_waiting") == 0)


async def ended(stack: RunningStack, messages: AsyncIterator[Any], **options: Any) -> type[SensoriumError]:
    with pytest.raises(SensoriumError) as error:
        _ = [event async for event in stack.client.speech.stream_transcribe(messages, **options)]
    return type(error.value)


async def test_callers_that_leave_or_fall_silent_leave_nothing_behind(one_folder: Path) -> None:
    async def falls_silent() -> AsyncIterator[pb.StreamTranscribeRequest]:
        async for message in sent(requests(AUDIO[:40_000], interim_results=True)):
            yield message
        await asyncio.Event().wait()

    async with speech_stack(one_folder, silent_client_seconds=0.5) as stack:
        assert await ended(stack, falls_silent()) is DeadlineExceeded
        await closed(stack)
    async with speech_stack(one_folder) as stack:
        assert await ended(stack, sent(requests(AUDIO * 9), pace=1), timeout=0.7) is DeadlineExceeded
        await closed(stack)
        async with stack.client.speech.stream_transcribe(sent(requests(AUDIO * 9), pace=2)) as stream:
            async for event in stream:
                if event.HasField("result"):
                    break
        await closed(stack)
        assert len(finals(await events_of(stack.client, requests(AUDIO)))) == 2


async def test_a_client_that_does_not_read_is_ended(one_folder: Path) -> None:
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    speech = [message.SerializeToString() for message in requests(AUDIO * 60, [64_000], word_times=True)]
    async with (
        speech_stack(one_folder, stalled_client_seconds=1, unfinished_seconds=20) as stack,
        grpc.aio.insecure_channel(stack.service.address, options=options) as channel,
    ):
        call = channel.stream_stream("/sensorium.v1.SpeechService/StreamTranscribe")(iter(speech))
        await call.read()
        await until(lambda: stack.service.metric("sensorium_engine_requests_total", finish_reason="completed") > 0)
        assert len(finals(await events_of(stack.client, requests(AUDIO)))) == 2
        await closed(stack)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_sender_who_is_ahead_waits(one_folder: Path) -> None:
    """Speech of half a minute sent at once is transcribed whole; tests of live streams check how much is buffered."""
    long = sent(requests(AUDIO * 6, [len(AUDIO)]))
    async with speech_stack(one_folder, unfinished_seconds=5) as stack:
        events = [event async for event in stack.client.speech.stream_transcribe(long)]
        assert len(finals(events)) == 12
        assert events[-1].completed.usage.audio_duration.ToSeconds() == 6 * len(TWO) // RATE


async def test_many_silent_streams_cost_the_model_nothing(stack: RunningStack) -> None:
    await closed(stack)
    steps = stack.service.metric("sensorium_engine_steps_total")
    hold = asyncio.Event()

    async def silence() -> AsyncIterator[pb.StreamTranscribeRequest]:
        yield config(interim_results=True)
        for _ in range(5):
            yield pb.StreamTranscribeRequest(audio=bytes(3200))
        await hold.wait()

    streams = [asyncio.create_task(ended_well(stack, silence())) for _ in range(40)]
    await until(lambda: stack.service.metric("sensorium_engine_live_streams") == 40)
    assert len(finals(await events_of(stack.client, requests(AUDIO)))) == 2
    hold.set()
    assert await asyncio.gather(*streams) == [2] * 40
    assert stack.service.metric("sensorium_engine_steps_total") == steps + 2
    await closed(stack)


async def ended_well(stack: RunningStack, messages: AsyncIterator[Any]) -> int:
    return len([event async for event in stack.client.speech.stream_transcribe(messages)])
