"""Decode steps whose recording is played by computing it once more, where there are no CUDA graphs."""

from collections.abc import Collection
from typing import Any

from services.engine.generation.recorded.decode_graphs import DecodeGraph, DecodeGraphs
from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.sequence import Row, Sequence


class Replayed:
    """Stands where a CUDA graph stands: computes what was recorded once more, into the same place."""

    def __init__(self, graphs: "PlayedGraphs", size: int) -> None:
        self.graphs, self.size = graphs, size
        self.logits = graphs.forward(size)

    def replay(self) -> None:
        self.logits.copy_(self.graphs.forward(self.size))


class PlayedGraphs(DecodeGraphs):
    ahead = 0
    """Steps launched behind one that was not read."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        step = super().launch(rows, after)
        self.ahead += bool(step and after)
        return step

    def recorded(self, size: int) -> DecodeGraph:
        replayed: Any = Replayed(self, size)
        return DecodeGraph(size, replayed, replayed.logits)
