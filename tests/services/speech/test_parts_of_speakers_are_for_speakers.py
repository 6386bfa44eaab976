from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.engine.checkpoint import ModelRefused
from services.engine.metrics import EngineMetrics
from services.speech.app import load
from services.speech.config import SpeechSettings

TRANSCRIBER = Path(__file__).parents[3] / "models/transcriber"


@pytest.mark.parametrize("parts", [{"vocoder": "any"}, {"voices": Path("any")}])
def test_a_model_that_hears_takes_none(parts: dict[str, str | Path]) -> None:
    settings = SpeechSettings(model=str(TRANSCRIBER), device="cpu", **parts)
    with pytest.raises(ModelRefused, match="for models that speak; this one is served to transcribe"):
        load(settings, EngineMetrics(CollectorRegistry()), lambda: None)
