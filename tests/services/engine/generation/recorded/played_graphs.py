"""Decode steps whose recording is played by computing it once more, where there are no CUDA graphs."""

from collections.abc import Collection
from typing import Any

from services.engine.generation.recorded.decode_graphs import DecodeGraph, DecodeGraphs
from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.sequence import Row, Sequence


class Replayed:
    """Stands where a CUDA graph stands: computes what was recorded once more, into the same place."""

    def __init__(self, graphs: "PlayedGraphs", size: int, wide: bool) -> None:
        self.graphs, self.kind = graphs, (size, wide)
        self.logits = graphs.forward(size, wide)

    def replay(self) -> None:
        self.logits.copy_(self.graphs.forward(*self.kind))


class PlayedGraphs(DecodeGraphs):
    ahead = 0
    """Steps launched behind one that was not read."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        step = super().launch(rows, after)
        self.ahead += bool(step and after)
        return step

    def recorded(self, size: int, wide: bool) -> DecodeGraph:
        replayed: Any = Replayed(self, size, wide)
        return DecodeGraph(size, wide, replayed, replayed.logits)
