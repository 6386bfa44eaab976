"""What a call was sent, and made of it, is free when the call has ended, however it did: nothing waits for the garbage
collector, which a process of large models runs once in hundreds of calls."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sensorium import DeadlineExceeded, InvalidArgument
from sensorium.client.awaited.stream import AsyncStream
from sensorium.rpc.http2.server_call import ServerCall
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from services.engine.speech_synthesis.speech import Speech
from services.speech.live.stream import LiveTranscription
from tests.e2e.stack import speech_stack
from tests.tiny.audio_models import RATE, write_ctc_model
from tests.tiny.speakers import write_vits
from tests.waiting import until

LOUD = bytes(range(256)) * 50


KINDS = (ServerCall, LiveTranscription, Speech)


def held() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS)


async def let_go(before: Counter[str]) -> None:
    """Waits for the last turns of the event loop only: nothing else is held than `before`."""
    await until(lambda: held() <= before)


async def spoken(*behind: pb.StreamTranscribeRequest) -> AsyncIterator[pb.StreamTranscribeRequest]:
    """Yields a stream's configuration and some sound, then what is `behind`, and waits for ever if that is nothing."""
    heard = pb.EndpointingOptions(speech_threshold=0)
    yield pb.StreamTranscribeRequest(config=pb.StreamTranscribeConfig(sample_rate_hertz=RATE, endpointing=heard))
    yield pb.StreamTranscribeRequest(audio=LOUD)
    for request in behind:
        yield request
    if not behind:
        await asyncio.Event().wait()


async def read_first(events: AsyncStream[Any]) -> None:
    await anext(aiter(events))
    events.cancel()


@pytest.mark.usefixtures("uncollected")
async def test_of_what_is_heard(tmp_path: Path) -> None:
    async with speech_stack(write_ctc_model(tmp_path / "hubert", "hubert")) as stack:
        speech, before = stack.client.speech, held()  # the gateway's own calls go on
        await read_first(speech.stream_transcribe(spoken()))
        await let_go(before)
        with pytest.raises(DeadlineExceeded):
            [event async for event in speech.stream_transcribe(spoken(), timeout=0.3)]
        await let_go(before)
        with pytest.raises(InvalidArgument):
            [event async for event in speech.stream_transcribe(spoken(pb.StreamTranscribeRequest()))]
        await let_go(before)
        with pytest.raises(InvalidArgument):
            await speech.transcribe(pb.TranscribeRequest(audio=common.Media(data=b"no sound")))
        await let_go(before)


@pytest.mark.usefixtures("uncollected")
async def test_of_what_is_said(tmp_path: Path) -> None:
    async with speech_stack(write_vits(tmp_path / "vits")) as stack:
        before = held()
        request = pb.StreamSynthesizeRequest(text="one two three. " * 20)
        await read_first(stack.client.speech.stream_synthesize(request))
        await let_go(before)
