"""Prompts may be megabytes long, so they are tokenized in another thread than the event loop's."""

import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.engine.metrics import EngineMetrics
from services.sent_media import SentMedia
from services.speech.app import load
from services.speech.config import SpeechSettings
from services.speech.transcription.transcribe_ask import TranscribeAsk
from tests.sounds import sound
from tests.tiny import hearing_models
from tests.tiny.listening_models import write_listening_model


@pytest.mark.parametrize("kind", ["fun_asr_nano", "whisper"])
async def test_prompts_of_streams_are_tokenized_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    whisper = kind == "whisper"
    folder = write_listening_model(tmp_path) if whisper else hearing_models.write_checkpoint(tmp_path, kind)
    settings = SpeechSettings(model=str(folder), device="cpu", dtype="float32")
    service = load(settings, EngineMetrics(CollectorRegistry()), lambda: None)
    service.threads.start()
    try:
        transcriber: Any = service.verbs.transcriber
        own, threads = transcriber._encoder.encode, list[threading.Thread]()

        def encode(text: str, **named: Any) -> list[int]:
            threads.append(threading.current_thread())
            return own(text, **named)

        monkeypatch.setattr(transcriber._encoder, "encode", encode)
        ask = TranscribeAsk(SentMedia(b"", ""), None, (), language="en", prompt="Bee")
        assert await transcriber.wrong(ask) == []
        await transcriber.recognize(sound(0.5, 1), ask)
        assert len(threads) >= 2
        assert threading.current_thread() not in threads
    finally:
        service.threads.close()
