from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from sensorium.errors import InvalidArgument
from services.engine.metrics import EngineMetrics
from services.sent_media import SentMedia
from services.speech.app import load
from services.speech.config import SpeechSettings
from services.speech.transcription.transcribe_ask import TranscribeAsk
from tests.sounds import encoded
from tests.tiny import hearing_models as tiny

KINDS = {"audioflamingo3": "is too short", "moss_transcribe_diarize": r"is 6\.25e-05 s long, which the model makes no"}
"""By model type, the refusal of a recording of one sample. MOSS's extractor raises an IndexError on it."""


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_too_short_holds_no_words(tmp_path: Path, kind: str) -> None:
    folder = tiny.write_checkpoint(tmp_path, kind)
    settings = SpeechSettings(model=str(folder), device="cpu", dtype="float32")
    service = load(settings, EngineMetrics(CollectorRegistry()), lambda: None)
    service.threads.start()
    try:
        transcriber = service.verbs.transcriber
        assert transcriber is not None
        short = np.zeros(1, np.float32)
        ask = TranscribeAsk(audio=SentMedia(b"", ""), deadline=None, violations=())
        assert (await transcriber.recognize(short, ask)).words == []
        with pytest.raises(InvalidArgument, match=f"audio: {KINDS[kind]}"):
            await transcriber.transcribe(replace(ask, audio=SentMedia(encoded(short), "")))
    finally:
        service.threads.close()
