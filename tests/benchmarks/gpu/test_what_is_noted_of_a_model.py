"""The note about a model that is printed before it is measured."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import nn

pytest.importorskip("triton")
from benchmarks.gpu.measurement import _note
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.norm import GpuNorm
from services.engine.fusion.triton.rotary import GpuRotary
from services.engine.generation.running.runner import ModelRunner


@pytest.mark.parametrize(
    ("left", "merged", "told"),
    [
        ((), (), ""),
        ((16, 32), (), ", sums of up to 32 rows left to their readers"),
        ((), (1, 16), ", steps of up to 16 rows begun by one kernel"),
    ],
)
def test_it_is_told_what_won_at_load(left: tuple[int, ...], merged: tuple[int, ...], told: str) -> None:
    nothing: Any = SimpleNamespace()
    norm = GpuNorm(torch.ones(8), 0.0)
    layer = GpuDecoderLayer(nothing, nothing, (norm, None, norm, None))
    layer.unsummed_tiles = frozenset(left)
    rotary = GpuRotary(nn.Module(), (torch.ones(1, 2), torch.ones(1, 2)))
    rotary.merged_groups = frozenset(merged)
    model: Any = nn.ModuleList([layer, GpuLinear([nn.Linear(8, 8)]), rotary])
    model.get_memory_footprint = lambda: 2e9
    runner = Mock(spec=ModelRunner, recorded=None, allowed_error=0.01, backend=nothing)
    engine: Any = SimpleNamespace(loaded=SimpleNamespace(model=model), parts=SimpleNamespace(runner=runner))
    assert _note(engine, 1.0, 2.0).startswith(f"2.00 GB of weights, SimpleNamespace{told}, 1 layers and ")
