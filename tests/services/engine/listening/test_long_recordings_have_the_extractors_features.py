import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from services.engine.listening import features
from services.engine.listening.features import long_features, windowed
from tests.sounds import RATE, sound


@pytest.mark.parametrize("seconds", [3.0, 7.1234, 9.0])
def test_blocks_make_what_the_whole_makes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The end is loud, so that the floor of the whole recording comes from its last block."""
    monkeypatch.setattr(features, "_BLOCK_SECONDS", 2)
    samples = sound(seconds) * np.geomspace(1e-4, 1, round(seconds * RATE)).astype(np.float32)
    extractor = WhisperFeatureExtractor(feature_size=20, chunk_length=4)
    whole = extractor(samples, sampling_rate=RATE, truncation=False, padding="longest", return_tensors="pt")
    found = long_features(extractor, samples)
    torch.testing.assert_close(found, whole["input_features"][0], atol=1e-5, rtol=0)
    assert windowed(found, found.shape[1] - 10, 400).shape == (20, 400)
    assert not windowed(found, found.shape[1] - 10, 400)[:, 10:].any()
