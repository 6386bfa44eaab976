"""Captures what a thread launches on a GPU as a CUDA graph."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.cuda import memory


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, pool: Any) -> Generator[None]:
    """Captures everything launched inside the block into `graph`, on `stream` (made current) and with memory of `pool`.

    `pool` comes from `torch.cuda.graph_pool_handle`; graphs share its memory if they share the stream. After a failed
    capture, stream and allocator are restored, so that another capture may be tried.
    """
    before = torch.cuda.current_stream(stream.device)
    try:
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            yield
    except BaseException:
        # After a failure, torch leaves `stream` current. Up to 2.12 its allocator also stays in capture mode and never
        # returns memory to the device; later versions raise RuntimeError here, as there is nothing to end.
        torch.cuda.set_stream(before)
        with suppress(RuntimeError):
            end: Any = vars(memory)["_cuda_endAllocateToPool"]
            end(stream.device.index, pool)
        raise
