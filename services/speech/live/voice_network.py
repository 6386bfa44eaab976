"""The voice activity network: Silero VAD in numpy, with the weights of the silero-vad package.

The package itself runs it in torch at four times the cost, or needs onnxruntime; ADR 14 has the figures.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Samples = NDArray[np.float32]

RATE = 16_000
FRAME = 512
"""Samples per frame: 32 ms."""
_CONTEXT = 64
"""Samples before a frame that are part of its input."""
_WIDTH = 128
"""Width of the recurrent state."""
_WINDOW, _HOP = 256, 128
_BINS = _WINDOW // 2 + 1
_FILE = "data/silero_vad_16k.safetensors"


@dataclass
class VoiceState:
    """The network's state for one stream."""

    context: Samples = field(default_factory=lambda: np.zeros(_CONTEXT, np.float32))
    hidden: Samples = field(default_factory=lambda: np.zeros(_WIDTH, np.float32))
    cell: Samples = field(default_factory=lambda: np.zeros(_WIDTH, np.float32))


class VoiceNetwork:
    """An STFT, four convolutions and an LSTM cell. May be shared by threads; each stream has its own VoiceState."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        """`weights` have the names of Silero's safetensors file."""
        self._basis = _columns(weights["stft_conv.weight"][:, 0])
        # Convolutions of width 3 as matrix products over three adjacent windows. Kernel taps that would only multiply
        # zero padding are left out.
        self._layers = [
            (_columns(weights[f"conv{i}.weight"][:, :, used].transpose(0, 2, 1)), weights[f"conv{i}.bias"])
            for i, used in ((1, slice(3)), (2, slice(3)), (3, slice(1, 3)), (4, slice(1, 2)))
        ]
        self._gates = np.concatenate((weights["lstm_cell.weight_ih"], weights["lstm_cell.weight_hh"]), 1).T.copy()
        self._gates_bias = weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]
        self._last = weights["final_conv.weight"][0, :, 0].copy()
        self._last_bias = weights["final_conv.bias"][0]
        self._windows = np.arange(4)[:, None] * _HOP + np.arange(_WINDOW)

    @classmethod
    def load(cls) -> "VoiceNetwork":
        """Returns the network with the weights of the silero-vad package."""
        # Only located, not imported: importing the package changes torch's number of threads.
        package = find_spec("silero_vad")
        assert package is not None and package.origin is not None, "silero-vad is among the dependencies"
        return cls(load_file(Path(package.origin).parent / _FILE))

    def probability(self, frame: Samples, state: VoiceState) -> float:
        """Returns the speech probability of a frame `[512]` at 16 kHz, and updates its stream's state."""
        heard = np.concatenate((state.context, frame, frame[-2 : -_CONTEXT - 2 : -1]))
        state.context = frame[-_CONTEXT:].copy()
        spectrum = heard[self._windows] @ self._basis
        magnitudes = np.sqrt(np.square(spectrum[:, :_BINS]) + np.square(spectrum[:, _BINS:]))
        self._remember(self._features(magnitudes), state)
        return float(_sigmoid(np.maximum(state.hidden, 0) @ self._last + self._last_bias))

    def _features(self, magnitudes: Samples) -> Samples:
        first, second, third, fourth = self._layers
        edge = np.zeros((1, _BINS), np.float32)
        hidden = _layer(_triples(np.concatenate((edge, magnitudes, edge)), (0, 1, 2, 3)), first)
        edge = np.zeros((1, hidden.shape[1]), np.float32)
        hidden = _layer(_triples(np.concatenate((edge, hidden)), (0, 2)), second)
        return _layer(_layer(hidden.reshape(-1), third), fourth)

    def _remember(self, features: Samples, state: VoiceState) -> None:
        gates = np.concatenate((features, state.hidden)) @ self._gates + self._gates_bias
        enter, keep, new, show = gates.reshape(4, _WIDTH)
        state.cell = _sigmoid(keep) * state.cell + _sigmoid(enter) * np.tanh(new)
        state.hidden = _sigmoid(show) * np.tanh(state.cell)


def _columns(weight: NDArray[Any]) -> Samples:
    return np.ascontiguousarray(weight.reshape(len(weight), -1).T)


def _triples(rows: Samples, starts: tuple[int, ...]) -> Samples:
    return np.stack([rows[start : start + 3].reshape(-1) for start in starts])


def _layer(inputs: Samples, layer: tuple[Samples, Samples]) -> Samples:
    weight, bias = layer
    return np.maximum(inputs @ weight + bias, 0)


def _sigmoid(values: Any) -> Any:
    # exp would overflow float32 on loud noise; tanh does not.
    return (1 + np.tanh(values / 2)) / 2
