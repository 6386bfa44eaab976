"""Simulated recordings for machines without CUDA graphs: a replay computes the step once more."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.recorded.step_graph import StepGraph
from services.engine.generation.recorded.step_graphs import StepGraphs
from services.engine.generation.recorded.step_shape import StepShape
from services.engine.generation.sequence import Row, Sequence


class Replayed:
    """Replaces a CUDA graph: computes the recorded work once more, into the same tensors."""

    def __init__(self, graphs: "PlayedGraphs", shape: StepShape) -> None:
        self.graphs, self.shape = graphs, shape
        self.logits = graphs.forward(shape)

    def replay(self) -> None:
        self.logits.copy_(self.graphs.forward(self.shape))


class PlayedGraphs(StepGraphs):
    ahead = 0
    """Steps launched behind one that was not read."""
    drawn = 0
    """Times that a recorded choice was played."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        step = super().launch(rows, after)
        self.ahead += bool(step and after)
        return step

    def recorded(self, shape: StepShape) -> StepGraph:
        replayed: Any = Replayed(self, shape)
        return StepGraph(replayed, replayed.logits)

    def recorded_draw(self, shape: StepShape, logits: Tensor) -> torch.cuda.CUDAGraph:
        def replay() -> None:
            self.drawn += 1
            self.draw(shape, logits)

        replayed: Any = SimpleNamespace(replay=replay)
        return replayed
