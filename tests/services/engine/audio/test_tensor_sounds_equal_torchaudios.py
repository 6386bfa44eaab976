"""Features of extractors equal those with torchaudio 2.11, compared by two sums over all values."""

import importlib
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from services.engine.audio.extractors import show_feature_extractors
from services.engine.audio.tensor_sounds import fbank

SUMS = {
    "granite_speech": ("GraniteSpeechFeatureExtractor", [1, 50, 160], 0.0143514, -0.044922),
    "granite_speech5": ("GraniteSpeech5FeatureExtractor", [1, 50, 320], 0.0080331, -0.002927),
    "fun_asr_nano": ("FunAsrNanoFeatureExtractor", [1, 17, 560], -11.5396282, 0.138949),
}
"""By package: class, shape, mean of the values, and 1000 times the mean of values times sines."""


@pytest.mark.parametrize("package", SUMS)
def test_extractors_make_the_same_numbers(package: str) -> None:
    if find_spec(f"transformers.models.{package}") is None:
        pytest.skip("of a later version of transformers")
    show_feature_extractors()
    name, shape, mean, waved = SUMS[package]
    extractor: Any = getattr(importlib.import_module("transformers"), name)()
    sound = torch.sin(torch.arange(16_001) * 0.05) * torch.linspace(0, 1, 16_001) * 0.5
    values = extractor(sound.numpy())["input_features"]
    flat = values.double().flatten()
    assert list(values.shape) == shape
    assert flat.mean().item() == pytest.approx(mean, abs=2e-6)
    assert (flat * torch.arange(len(flat)).double().sin()).mean().item() * 1e3 == pytest.approx(waved, abs=2e-4)


def test_less_than_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="399 samples are fewer than one frame of 400"):
        fbank(torch.zeros(1, 399), 80, 25, 10, 16_000, "hamming")
