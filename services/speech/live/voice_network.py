"""The network that tells speech from everything else: Silero's, in numpy, with the weights of its package.

Its package runs it in torch or in onnxruntime, at four times the cost or with one more runtime; ADR 14 has the figures.
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
"""Samples of a frame."""
_CONTEXT = 64
"""Samples before a frame that are read with it."""
_WIDTH = 128
"""Of the recurrent state."""
_WINDOW, _HOP = 256, 128
_BINS = _WINDOW // 2 + 1
_FILE = "data/silero_vad_16k.safetensors"


@dataclass
class VoiceState:
    """What the network remembers of one stream."""

    context: Samples = field(default_factory=lambda: np.zeros(_CONTEXT, np.float32))
    hidden: Samples = field(default_factory=lambda: np.zeros(_WIDTH, np.float32))
    cell: Samples = field(default_factory=lambda: np.zeros(_WIDTH, np.float32))


class VoiceNetwork:
    """A spectrum, four convolutions over its four windows, and one recurrent cell. May be shared by threads."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        """Takes the weights by the names of Silero's safetensors."""
        self._basis = _columns(weights["stft_conv.weight"][:, 0])
        # Kernels of width 3 as matrices over three windows side by side. Where zeros surround the input, the rows of
        # the kernel that would only meet these are left out.
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
        """Returns the network with the weights that its package brings."""
        # Found, and not imported: the package would set torch's threads.
        package = find_spec("silero_vad")
        assert package is not None and package.origin is not None, "silero-vad is among the dependencies"
        return cls(load_file(Path(package.origin).parent / _FILE))

    def probability(self, frame: Samples, state: VoiceState) -> float:
        """Returns the probability of speech in a frame `[512]` at 16 kHz, and changes the state of its stream."""
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
    # Of exp, loud noise would ask for more than float32 holds.
    return (1 + np.tanh(values / 2)) / 2
