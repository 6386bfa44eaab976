"""Streams of speech, what is sent of them, and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from sensorium import AsyncClient
from sensorium.v1 import speech_pb2 as pb
from tests.vowels import RATE, linear16, said

TWO = said(0.4, "aeiou oia ue", 0.9, "uoi aeo", 0.8)
AUDIO = linear16(TWO)


def config(**options: Any) -> pb.StreamTranscribeRequest:
    return pb.StreamTranscribeRequest(config=pb.StreamTranscribeConfig(sample_rate_hertz=RATE, **options))


def requests(audio: bytes, sizes: Any = (3200,), **options: Any) -> Iterator[pb.StreamTranscribeRequest]:
    yield config(**options)
    begin = i = 0
    while begin < len(audio):
        size = int(sizes[i % len(sizes)])
        yield pb.StreamTranscribeRequest(audio=audio[begin : begin + size])
        begin, i = begin + size, i + 1


async def sent(
    messages: Iterator[pb.StreamTranscribeRequest], pace: float = 0.0
) -> AsyncIterator[pb.StreamTranscribeRequest]:
    for message in messages:
        yield message
        await asyncio.sleep(len(message.audio) / 2 / RATE / pace if pace else 0)


async def events_of(client: AsyncClient, *messages: Any, pace: float = 0.0) -> list[pb.StreamTranscribeResponse]:
    return [event async for event in client.speech.stream_transcribe(sent(*messages, pace=pace))]


def finals(events: list[pb.StreamTranscribeResponse]) -> list[pb.TranscriptionResult]:
    return [event.result for event in events if event.result.final]
