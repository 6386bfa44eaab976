"""Recording what a thread launches on a GPU as a CUDA graph."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.cuda import memory


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, pool: Any) -> Generator[None]:
    """Records what is launched meanwhile, on a stream that becomes the current one, with memory of a pool.

    `pool` is what `torch.cuda.graph_pool_handle` returns; graphs share its memory if they share the stream. Where
    recording fails, it may be tried again with something else.
    """
    before = torch.cuda.current_stream(stream.device)
    try:
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            yield
    except BaseException:
        # torch leaves the stream the current one then. Until 2.12 its allocator also goes on as if it were recording,
        # and gives no memory back to the device any more; later ones say that it does not.
        torch.cuda.set_stream(before)
        with suppress(RuntimeError):
            end: Any = vars(memory)["_cuda_endAllocateToPool"]
            end(stream.device.index, pool)
        raise
