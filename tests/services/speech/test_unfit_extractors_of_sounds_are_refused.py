import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from transformers import AutoFeatureExtractor

from services.engine.audio.reader import AudioReader
from services.engine.checkpoint import ModelRefused
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.speech.app import load
from services.speech.config import SpeechSettings
from tests.tiny.audio_models import RATE, write_clap_model

_FILE = "preprocessor_config.json"


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a CLAP that reads 1 s as one spectrogram."""
    return write_clap_model(tmp_path_factory.mktemp("clap"))


@pytest.mark.parametrize("unfit", [{"truncation": "fusion"}, {"max_length_s": 0.5}])
def test_an_extractor_that_does_not_fit_the_model_is_refused(clap: Path, tmp_path: Path, unfit: Any) -> None:
    """The model expects one spectrogram and gets four; or the extractor fails, on a length that is no integer."""
    for file in clap.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / _FILE).unlink()
    (tmp_path / _FILE).write_text(json.dumps(json.loads((clap / _FILE).read_text()) | unfit))
    settings = SpeechSettings(model=str(tmp_path), device="cpu", dtype="float32")
    with pytest.raises(ModelRefused, match="ClapModel cannot be run on what its processor makes of one recording"):
        load(settings, EngineMetrics(CollectorRegistry()), lambda: None)


def test_the_beginning_is_read_whatever_the_extractor_would_do(clap: Path) -> None:
    """With a way of cutting that it does not know, it raises NotImplementedError."""
    extractor = AutoFeatureExtractor.from_pretrained(clap, truncation="cut")
    reader = AudioReader(extractor, AudioLimits(1, 1))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
    long, short = (reader.process(samples).tensors["input_features"] for samples in (noise, noise[:RATE]))
    assert long.equal(short)
