from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from benchmarks.speech.live_stream import Pace, hear, onset
from sensorium.v1 import speech_pb2 as pb

RATE = 1000


class Speech:
    """Takes back what it called stable, once."""

    def __init__(self) -> None:
        self.audio = b""

    async def stream_transcribe(self, requests: AsyncIterator[pb.StreamTranscribeRequest]) -> AsyncIterator[Any]:
        self.config = (await anext(requests)).config
        async for request in requests:
            self.audio += request.audio
        for text, stable, final in (("one", 3, False), ("two", 0, False), ("one two", 7, True)):
            result = pb.TranscriptionResult(text=text, stable_character_count=stable, final=final)
            yield pb.StreamTranscribeResponse(result=result)


async def test_a_stream_is_sent_as_it_was_spoken_and_watched() -> None:
    client: Any = type("Client", (), {"speech": Speech()})()
    samples = np.concatenate([np.zeros(200), np.ones(130)]).astype(np.float32)
    heard = await hear(client, samples, RATE, Pace((50, 7)))
    assert client.speech.audio == samples.astype("<f4").tobytes()
    assert client.speech.config.interim_results
    assert (heard.text, heard.interim_count, heard.taken_back) == ("one two", 2, 1)
    assert heard.first is not None and heard.first >= 0.13


def test_speech_begins_where_it_is_loud() -> None:
    assert onset(np.array([0, 0.001, 0.3, 1], np.float32), 10) == 0.2
