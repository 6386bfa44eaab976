"""Decode steps whose recording is played by computing it once more, where there are no CUDA graphs."""

from typing import Any

from services.engine.generation.recorded.decode_graphs import DecodeGraph, DecodeGraphs


class Replayed:
    """Stands where a CUDA graph stands: computes what was recorded once more, into the same place."""

    def __init__(self, graphs: "PlayedGraphs", size: int) -> None:
        self.graphs, self.size = graphs, size
        self.logits = graphs.forward(size)

    def replay(self) -> None:
        self.logits.copy_(self.graphs.forward(self.size))


class PlayedGraphs(DecodeGraphs):
    def recorded(self, size: int) -> DecodeGraph:
        replayed: Any = Replayed(self, size)
        return DecodeGraph(size, replayed, replayed.logits)
