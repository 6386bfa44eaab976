"""Captures CUDA graphs that share one memory pool."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from services.engine.device.graph_recording import recording

_WARM_UPS = 2

T = TypeVar("T")


class Captures:
    """Captures graphs in one memory pool. A graph reuses the temporary memory of earlier ones: no two run at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    def take(self, work: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
        """Captures `work`; returns the graph and what `work` returned, whose tensors each replay overwrites."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        stream = self._stream = self._stream or torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):  # warm-up: compiling kernels and allocating workspaces cannot be captured
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with recording(graph, stream, self._pool):
            found = work()
        return graph, found
