"""Means over many frames, in types in which neither their sum nor their number has a place."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from services.engine.audio.vectors import AudioVectors


@pytest.mark.parametrize(("dtype", "value"), [(torch.float16, 50.0), (torch.bfloat16, 1.5)])
def test_means_are_those_of_float32(dtype: torch.dtype, value: float) -> None:
    states = torch.full((2, 1499, 4), value, dtype=dtype)
    model: Any = _Encoder(states)
    loaded: Any = SimpleNamespace(model=model, missing=())
    found = AudioVectors(loaded).compute({"input_values": torch.zeros(2, 10)})["vector"]
    torch.testing.assert_close(found.float(), states.float().mean(1), rtol=1e-6, atol=0)


class _Encoder:
    """An encoder without a pooler that makes the same states of any recording."""

    def __init__(self, states: Tensor) -> None:
        self._states = states

    def __call__(self, **_: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self._states)
