"""A recording that fails is ended by torch by half: its stream stays the current one, and its pool is recorded to."""

from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.cuda import memory

from services.engine.device.graph_recording import recording

POOL = (0, 7)
OWN: Any = SimpleNamespace(device=torch.device("cuda", 3))


class Torch:
    """What `torch.cuda` knows of streams and pools, and forgets where a recording fails."""

    def __init__(self, ends_pools: bool) -> None:
        self.ends_pools = ends_pools
        self.stream: Any = "before"
        self.pools = set[Any]()

    @contextmanager
    def graph(self, _graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Generator[None]:
        assert capture_error_mode == "thread_local"
        before, self.stream = self.stream, stream
        self.pools.add((3, pool))
        try:
            yield
        except ValueError as error:
            if self.ends_pools:
                self.pools.clear()
            raise torch.AcceleratorError("CUDA error: operation failed due to a previous error") from error
        self.stream = before
        self.pools.clear()

    def end(self, device: int, pool: Any) -> None:
        if (device, pool) not in self.pools:
            raise RuntimeError("not currently recording to mempool_id")
        self.pools.remove((device, pool))


@pytest.mark.parametrize("ends_pools", [False, True], ids=["2.11", "later"])
def test_another_recording_may_be_tried(ends_pools: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    graph: Any = SimpleNamespace()
    cuda = Torch(ends_pools)
    monkeypatch.setattr(torch.cuda, "graph", cuda.graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: cuda.stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(cuda, "stream", stream))
    monkeypatch.setattr(memory, "_cuda_endAllocateToPool", cuda.end)
    with pytest.raises(torch.AcceleratorError), recording(graph, OWN, POOL):
        raise ValueError("a device was asked for something")
    assert (cuda.stream, cuda.pools) == ("before", set())
    with recording(graph, OWN, POOL):
        assert (cuda.stream, cuda.pools) == (OWN, {(3, POOL)})
    assert (cuda.stream, cuda.pools) == ("before", set())
