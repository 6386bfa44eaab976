"""Where Triton's kernels are tested: interpreted on the CPU, and compiled where there is a GPU."""

import os
from typing import Any

import pytest
import torch
from torch import nn

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")),
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
    ),
]


def shorten(model: Any) -> None:
    """Leaves one layer and a few tokens to a Llama, as kernels that are interpreted take their time."""
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    model.lm_head = nn.Linear(model.lm_head.in_features, 10, bias=False)
