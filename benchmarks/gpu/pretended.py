"""`python -m benchmarks.gpu.pretended SECONDS MODULE ARGUMENTS`: runs MODULE with a simulated GPU.

Decode steps are launched ahead by the real code. Each takes SECONDS, one after the other, whatever its rows are.
Nothing is computed: a thread that waits for a step sleeps without the GIL, as with a GPU, and tokens are random.
Prompts are read by the real model on the CPU. Two costs are missing: launching a recording takes no time here, and a
real driver may need the processor while it waits.
"""

import ctypes
import runpy
import sys
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.shares import name_engine
from services.engine.generation.building import build
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.recorded.replay import Replay
from services.engine.generation.recorded.step_graph import StepGraph
from services.engine.generation.recorded.step_graphs import StepGraphs
from services.engine.generation.recorded.step_shape import Extent, StepShape
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel

_SET_TIMER_SLACK = 29
_PROGRAMS = 4 * 132


@dataclass(frozen=True)
class _Arrived:
    """Replaces a CUDA event."""

    at: float

    def synchronize(self) -> None:
        """Sleeps until the time of the event."""
        if (left := self.at - time.monotonic()) > 0:
            time.sleep(left)


class PretendedGraphs(StepGraphs):
    """Recorded steps that compute nothing and take `seconds` each."""

    def __init__(self, loaded: LoadedModel, runner: ModelRunner, longest: int, seconds: float) -> None:
        """Replaces the result of `record_steps`."""
        backend: Any = SimpleNamespace(programs=lambda _blocks: _PROGRAMS)
        super().__init__(loaded.model, backend, runner.cache, loaded.device, longest)
        self._vocabulary, self._seconds = loaded.vocabulary_size, seconds
        self._free = 0.0
        self._found = torch.Generator().manual_seed(1)
        self._named = False

    def recorded(self, shape: StepShape) -> StepGraph:
        """See StepGraphs."""
        graph: Any = SimpleNamespace(replay=self._occupy)
        return StepGraph(graph, torch.rand(shape.outputs, self._vocabulary, generator=self._found))

    def recorded_draw(self, shape: StepShape, logits: Tensor) -> torch.cuda.CUDAGraph:
        """See StepGraphs."""
        del shape, logits
        graph: Any = SimpleNamespace(replay=lambda: None)  # tokens are random anyway
        return graph

    def choose(self, replay: Replay, began: float) -> LaunchedStep:
        """See StepGraphs."""
        arrived: Any = _Arrived(self._free)
        return replace(super().choose(replay, began), arrived=arrived)

    def _occupy(self) -> None:
        if not self._named:
            self._named = True
            name_engine()
            ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1, 0, 0, 0)  # by default each sleep is 50 µs too long
        self._free = max(self._free, time.monotonic()) + self._seconds
        self._tokens.random_(self._vocabulary, generator=self._found)


def main() -> None:
    """Runs the module."""
    seconds, module = float(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    paged_parts = build.paged_parts

    def pretending(loaded: LoadedModel, settings: EngineSettings) -> Parts:
        parts = paged_parts(loaded, settings)
        assert isinstance(parts.runner, ModelRunner)
        graphs = PretendedGraphs(loaded, parts.runner, loaded.context_tokens, seconds)
        graphs.record(settings.max_sequences, Extent())
        parts.runner.recorded = graphs
        return parts

    with (
        patch.object(build, "paged_parts", pretending),
        patch.object(build, "work_clock", lambda _device: time.monotonic),
    ):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
