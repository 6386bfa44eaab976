import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from sensorium.errors import InvalidArgument, QueueFull, Violation
from sensorium.v1 import speech_pb2 as pb
from services.sent_media import SentMedia
from services.speech.live.event import Completed, Result, Started
from services.speech.live.live_ask import EndpointingAsk, LiveAsk
from services.speech.live.live_conversion import audio_of, config_of, live_ask
from services.speech.live.reading import Reading
from services.speech.live.stream_transcribe import StreamTranscriber
from services.speech.transcription.transcribe_ask import TranscribeAsk
from tests.services.speech.live.speaker import RATE, LoudnessRecognizer, LoudNetwork, pieces_of, spoken

READING = TranscribeAsk(audio=SentMedia(b"", ""), deadline=None, violations=())
ASK = LiveAsk(encoding="LINEAR16", rate=RATE, channels=None, violations=(), reading=READING)


class Transcriber:
    rate = RATE
    window_seconds = 10.0
    places_words = True

    async def transcribe(self, ask: TranscribeAsk) -> Any:
        raise NotImplementedError

    async def wrong(self, ask: TranscribeAsk) -> list[Violation]:
        return [Violation("prompt", "does not apply")] if ask.prompt else []

    async def recognize(self, samples: Any, ask: TranscribeAsk) -> Reading:
        return await LoudnessRecognizer().recognize(samples)


def verb(max_streams: int = 2) -> tuple[StreamTranscriber, Gauge]:
    gauge = Gauge("open", "", registry=CollectorRegistry())
    network: Any = LoudNetwork()
    return StreamTranscriber(
        Transcriber(), network, gauge, max_streams=max_streams, unfinished_seconds=20, context_seconds=2
    ), gauge


async def violations(ask: LiveAsk) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as refused:
        _ = [event async for event in verb()[0].listen(ask, pieces_of(b""))]
    return {violation.field: violation.description for violation in refused.value.violations}


async def test_all_faults_are_reported_at_once() -> None:
    ask = LiveAsk(
        encoding="FLAC",
        rate=3999,
        channels=9,
        violations=(Violation("config.encoding", "unknown"),),
        reading=replace(READING, prompt="Hello"),
        endpointing=EndpointingAsk(1.5, -1.0, -0.1, -3.0, 10.5),
    )
    found = await violations(ask)
    assert set(found) == {
        "config.encoding",
        "config.sample_rate_hertz",
        "config.channel_count",
        "config.prompt",
        "config.endpointing.speech_threshold",
        "config.endpointing.min_speech_duration",
        "config.endpointing.min_silence_duration",
        "config.endpointing.padding_duration",
        "config.endpointing.max_utterance_duration",
    }


@pytest.mark.parametrize(
    ("endpointing", "field"),
    [
        (EndpointingAsk(speech_threshold=float("nan")), "speech_threshold"),
        (EndpointingAsk(padding=5.0), "padding_duration"),
        (EndpointingAsk(max_utterance=0.4), "padding_duration"),
        (EndpointingAsk(max_utterance=0.1), "max_utterance_duration"),
        (EndpointingAsk(min_speech=9.9), "min_speech_duration"),
    ],
)
async def test_an_utterance_has_room_for_speech(endpointing: EndpointingAsk, field: str) -> None:
    assert set(await violations(replace(ASK, endpointing=endpointing))) == {f"config.endpointing.{field}"}


async def test_no_more_streams_are_open_than_may_be() -> None:
    streams, gauge = verb(max_streams=1)

    async def forever() -> AsyncIterator[bytes]:
        yield b""
        await asyncio.Event().wait()

    first = streams.listen(ASK, forever())
    assert isinstance(await anext(first), Started)
    with pytest.raises(QueueFull) as refused:
        await anext(streams.listen(ASK, forever()))
    assert refused.value.retry_after
    assert gauge.collect()[0].samples[0].value == 1
    await first.aclose()
    assert gauge.collect()[0].samples[0].value == 0
    events = [event async for event in streams.listen(ASK, pieces_of(spoken(0.3, 10, 0.6).tobytes()))]
    assert [type(event) for event in events] == [Started, Result, Completed]
    assert isinstance(events[1], Result) and not events[1].words


def test_a_configuration_becomes_plain_values() -> None:
    config = pb.StreamTranscribeConfig(sample_rate_hertz=8000, encoding=pb.AUDIO_ENCODING_MULAW, channel_count=2)
    config.endpointing.min_silence_duration.FromMilliseconds(250)
    config.endpointing.speech_threshold = 0
    ask = live_ask(pb.StreamTranscribeRequest(config=config), None)
    assert (ask.encoding, ask.rate, ask.channels) == ("MULAW", 8000, 2)
    assert ask.endpointing == EndpointingAsk(speech_threshold=0, min_silence=0.25)
    assert live_ask(pb.StreamTranscribeRequest(config={}), None).encoding == "LINEAR16"
    unknown = live_ask(pb.StreamTranscribeRequest(config={"encoding": 77}), None)
    assert (unknown.encoding, [violation.field for violation in unknown.violations]) == ("", ["config.encoding"])


async def _requests(*requests: pb.StreamTranscribeRequest) -> AsyncIterator[pb.StreamTranscribeRequest]:
    for request in requests:
        yield request


CONFIG = pb.StreamTranscribeRequest(config={"sample_rate_hertz": 16_000})
AUDIO = pb.StreamTranscribeRequest(audio=b"ab")
EMPTY = pb.StreamTranscribeRequest()


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "config"),
        ([AUDIO, CONFIG], "config"),
        ([EMPTY], "config"),
        ([CONFIG, AUDIO, CONFIG], "config"),
        ([CONFIG, AUDIO, EMPTY], "audio"),
    ],
)
async def test_requests_have_an_order(requests: list[pb.StreamTranscribeRequest], field: str) -> None:
    sent = _requests(*requests)
    with pytest.raises(InvalidArgument) as refused:
        await config_of(sent)
        _ = [piece async for piece in audio_of(sent)]
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_pieces_may_be_empty() -> None:
    sent = _requests(CONFIG, AUDIO, pb.StreamTranscribeRequest(audio=b""), AUDIO)
    assert await config_of(sent) == CONFIG
    assert [piece async for piece in audio_of(sent)] == [b"ab", b"", b"ab"]
