"""A recording of several windows that has begun retries on a full queue instead of failing."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sensorium.errors import QueueFull
from services.engine.metrics import EngineMetrics
from services.sent_media import SentMedia
from services.speech.app import load
from services.speech.config import SpeechSettings
from services.speech.listening.window_writer import WindowWriter
from services.speech.transcription.transcribe_ask import TranscribeAsk
from tests.sounds import encoded, sound
from tests.tiny.listening_models import write_listening_model


async def test_a_recording_that_is_begun_waits_where_the_queue_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SpeechSettings(model=str(write_listening_model(tmp_path)), device="cpu", dtype="float32")
    service = load(settings, EngineMetrics(CollectorRegistry()), lambda: None)
    service.threads.start()
    ask = TranscribeAsk(SentMedia(encoded(sound(8.5, 1)), ""), None, (), language="en", word_times=True)
    calls: list[bool] = []
    turned_away: set[int] = set()

    def filled(own: Any) -> Any:
        async def called(*asked: Any) -> Any:
            calls.append(True)
            if len(calls) in turned_away:
                raise QueueFull("It is full.", retry_after=0.001)
            return await own(*asked)

        return called

    try:
        transcriber: Any = service.verbs.transcriber
        writer: WindowWriter = transcriber._writer
        monkeypatch.setattr(writer, "write", filled(writer.write))
        monkeypatch.setattr(writer, "align", filled(writer.align))
        whole = (await transcriber.transcribe(ask)).result
        assert len(calls) > 2
        calls.clear()
        turned_away |= {2, 4, 5}
        assert (await transcriber.transcribe(ask)).result == whole
        calls.clear()
        turned_away.add(1)
        with pytest.raises(QueueFull):
            await transcriber.transcribe(ask)
    finally:
        service.threads.close()
