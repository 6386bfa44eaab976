from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from services.engine.metrics import EngineMetrics
from services.sent_media import SentMedia
from services.speech.app import load
from services.speech.config import SpeechSettings
from services.speech.transcribe_ask import TranscribeAsk
from tests import tiny_hearing_models as tiny


async def test_what_is_too_short_holds_no_words(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path, "audioflamingo3")
    settings = SpeechSettings(model=str(folder), device="cpu", dtype="float32")
    service = load(settings, EngineMetrics(CollectorRegistry()), lambda: None)
    try:
        transcriber = service.verbs.transcriber
        assert transcriber is not None
        ask = TranscribeAsk(audio=SentMedia(b"", ""), deadline=None, violations=())
        assert (await transcriber.recognize(np.zeros(8, np.float32), ask)).words == []
    finally:
        service.close()
