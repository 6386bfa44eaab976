import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.speech.live.voice_detector import VoiceDetector
from services.speech.live.voice_network import FRAME, RATE, VoiceNetwork, VoiceState

NAMES = {f"conv{i + 1}": f"encoder.{i}.reparam_conv" for i in range(4)} | {"final_conv": "decoder.decoder.2"}


@pytest.fixture(scope="module")
def script() -> Any:
    """Silero's TorchScript model, which the silero-vad package ships beside the weights that are served."""
    spec = find_spec("silero_vad")
    assert spec is not None and spec.origin is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch asks everybody to leave TorchScript
        return torch.jit.load(Path(spec.origin).parent / "data/silero_vad.jit")


def sound(seconds: float, seed: int = 0) -> Any:
    """Returns a voice-like harmonic sound of varying loudness over noise."""
    draws = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 20))
    loudness = 0.1 * np.maximum(np.sin(2 * np.pi * 0.7 * time), 0) * (1 + np.sin(2 * np.pi * 4 * time))
    return (loudness * voice + 0.01 * draws.standard_normal(len(time))).astype(np.float32)


def test_it_computes_what_sileros_own_program_computes(script: Any) -> None:
    """Compared with the TorchScript model's weights, because the served ones are from another training."""
    state = {name: value.numpy() for name, value in script._model.state_dict().items()}
    weights = {f"{mine}.{part}": state[f"{own}.{part}"] for mine, own in NAMES.items() for part in ("weight", "bias")}
    weights["stft_conv.weight"] = state["stft.forward_basis_buffer"]
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        weights[f"lstm_cell.{part}"] = state[f"decoder.rnn.{part}"]
    frames = sound(3)[: 90 * FRAME].reshape(-1, FRAME)
    own, mine = VoiceNetwork(weights), VoiceState()
    found = [own.probability(frame, mine) for frame in frames]
    with torch.inference_mode():
        expected = [script(torch.from_numpy(frame)[None], RATE).item() for frame in frames]
    assert max(expected) > 0.5
    assert min(expected) < 0.1
    assert np.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("rate", [16_000, 8_000, 22_050])
def test_probabilities_do_not_depend_on_pieces(rate: int) -> None:
    network = VoiceNetwork.load()
    samples = sound(2)[: rate * 2]
    whole = VoiceDetector(network, rate)
    expected = [*whole.push(samples), *whole.end()]
    assert len(expected) == -(-len(samples) * RATE // (rate * FRAME))
    draws = np.random.default_rng(3)
    for most in (50, 3000):
        detector, found, begin = VoiceDetector(network, rate), list[float](), 0
        while begin < len(samples):
            end = begin + int(draws.integers(0, most))
            found += detector.push(samples[begin:end])
            begin = end
        assert found + detector.end() == expected


def test_no_sound_is_too_loud() -> None:
    network, state = VoiceNetwork.load(), VoiceState()
    for frame in (sound(1)[: 8 * FRAME] * np.float32(2.0**32)).reshape(-1, FRAME):
        assert 0 <= network.probability(frame, state) <= 1
