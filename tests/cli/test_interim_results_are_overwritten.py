from io import StringIO

import pytest

from sensorium.cli.transcript import Transcript
from sensorium.v1 import speech_pb2 as pb


def shown(*results: pb.TranscriptionResult) -> list[str]:
    out = StringIO()
    transcript = Transcript(out, live=True, file=None)
    for result in results:
        transcript.take(pb.StreamTranscribeResponse(result=result))
    transcript.end()
    return out.getvalue().split("\r\x1b[K")[1:]


def test_each_result_takes_the_place_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "11")
    interim = pb.TranscriptionResult(text="one two")
    longer = pb.TranscriptionResult(text="one two three")
    wide = pb.TranscriptionResult(text="一二三四五六七")
    final = pb.TranscriptionResult(text="one two three four", final=True)
    assert shown(interim, longer, wide, final) == ["one two", "…two three", "…四五六七", "one two three four\n"]
