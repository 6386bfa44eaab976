"""Decode steps as CUDA graphs: the model's forward is recorded once for each of some batch sizes, and replayed.

Launching a model's hundreds of small kernels one by one takes longer than a small batch's arithmetic; a graph launches
them at once. It reads its inputs from fixed places, so rows are copied there first; a smaller batch is filled up with
rows that store nothing and see nothing.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.plan import QueryBlocks, TritonPlan
from services.engine.generation.kv_cache import KVCache
from services.engine.generation.sequence import CachedTokens, Row

log = logging.getLogger(__name__)

_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
_FIELDS = 7
"""Numbers of a row beside its pages: token, position, slot, and its block of queries."""
_WARM_UPS = 2


@dataclass(frozen=True)
class DecodeGraph:
    """One batch size, recorded."""

    size: int
    graph: torch.cuda.CUDAGraph
    logits: Tensor
    """`[size, vocabulary]`, written by a replay."""


class DecodeGraphs:
    """The recorded sizes with the inputs they share. Belongs to the thread that runs the model."""

    def __init__(
        self, model: nn.Module, backend: TritonAttention, cache: KVCache, device: torch.device, longest: int
    ) -> None:
        """Takes no sequence beyond `longest` tokens."""
        self._model, self._backend, self._cache, self._device = model, backend, cache, device
        self._row_pages = -(-longest // cache.page_size)
        self._longest = longest
        self._graphs: list[DecodeGraph] = []
        self._copied = torch.cuda.Event() if device.type == "cuda" else None
        self._pool: Any = None
        self._host = self._inputs = torch.empty(0, dtype=torch.int64)
        self._laid: list[list[int]] = []  # pages of each row where they are now
        self._laid_as = 0, 0

    @torch.inference_mode()
    def record(self, most: int) -> None:
        """Records sizes up to `most` rows, the largest first, whose memory the others use again.

        Raises:
            Exception: the model's forward cannot be recorded. Nothing is used then.
        """
        sizes = sorted({size for size in _SIZES if size < most} | {min(most, _SIZES[-1])}, reverse=True)
        room = sizes[0] * (_FIELDS + self._row_pages)
        self._host = torch.zeros(room, dtype=torch.int64, pin_memory=self._copied is not None)
        self._inputs = torch.zeros(room, dtype=torch.int64, device=self._device)
        graphs = list[DecodeGraph]()
        for size in sizes:
            self._fill([], size)
            graphs.append(self.recorded(size))
        self._graphs = graphs[::-1]
        log.info("Decode steps of up to %d rows are recorded in %d graphs", sizes[0], len(sizes))

    def size_for(self, rows: Collection[Row[CachedTokens]]) -> int:
        """Returns the recorded size that takes these rows; 0 if none does."""
        if not all(row.token_count == 1 and row.completes and not row.scored for row in rows):
            return 0
        if any(row.sequence.media is not None and row.sequence.computed < row.sequence.prompt_count for row in rows):
            return 0  # it may be a medium's, whose embedding is none of the model's
        if max(len(row.sequence.pages) for row in rows) > self._row_pages:
            return 0
        return next((graph.size for graph in self._graphs if graph.size >= len(rows)), 0)

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]], size: int) -> Tensor:
        """Returns float32 logits `[rows, vocabulary]`, as Runner.run does; `size` is what `size_for` returned."""
        self._fill(rows, size)
        graph = next(graph for graph in self._graphs if graph.size == size)
        graph.graph.replay()
        return graph.logits[: len(rows)].to(torch.float32, copy=True)

    def recorded(self, size: int) -> DecodeGraph:
        """Returns one size, recorded."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):  # compiles kernels and takes workspaces, neither of which can be recorded
            for _ in range(_WARM_UPS):
                self.forward(size)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            logits = self.forward(size)
        return DecodeGraph(size, graph, logits)

    def forward(self, size: int) -> Tensor:
        """Runs the model on so many of the rows that were filled in. Returns their logits."""
        tokens, positions, slots = (self._inputs[i * size : (i + 1) * size] for i in range(3))
        table = self._inputs[3 * size : _FIELDS * size].view(size, 4)
        blocks = QueryBlocks(table, 1, self._longest)
        plan = TritonPlan(self._cache, slots, self._inputs[_FIELDS * size :], blocks, None)
        output = self._model(
            input_ids=tokens.unsqueeze(0),
            position_ids=positions.unsqueeze(0),
            logits_to_keep=0,
            use_cache=False,
            attention_call=AttentionCall(self._backend, plan),
        )
        return output.logits[0]

    def _fill(self, rows: Collection[Row[CachedTokens]], size: int) -> None:
        """Copies the rows to where a graph of this size reads them, in one transfer."""
        if self._copied is not None:
            self._copied.synchronize()  # of the last step's, from the same place
        host, cache_page, count = self._host.numpy(), self._cache.page_size, len(rows)
        sequences = [row.sequence for row in rows]
        stride = self._lay_pages([sequence.pages for sequence in sequences], size)
        places = [sequence.computed for sequence in sequences]
        fields = host[: _FIELDS * size]
        fields[: 2 * size] = 0
        fields[:count] = [sequence.token_ids[place] for sequence, place in zip(sequences, places, strict=True)]
        fields[size : size + count] = [
            place if sequence.media is None else place + sequence.media.shift
            for sequence, place in zip(sequences, places, strict=True)
        ]
        slots, table = fields[2 * size : 3 * size], fields[3 * size :].reshape(size, 4)
        slots[:] = -1
        slots[:count] = [
            sequence.pages[place // cache_page] * cache_page + place % cache_page
            for sequence, place in zip(sequences, places, strict=True)
        ]
        table[:, 0], table[:, 1:] = np.arange(size), 0
        table[:count, 1], table[:count, 2], table[:count, 3] = 1, places, np.arange(count) * stride
        end = _FIELDS * size + count * stride
        self._inputs[:end].copy_(self._host[:end], non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def _lay_pages(self, pages: list[list[int]], size: int) -> int:
        """Writes each row's pages where it has not those of the step before. Returns how far apart rows begin."""
        longest = max(map(len, pages), default=1)
        stride = min(1 << (longest - 1).bit_length(), self._row_pages)
        if self._laid_as != (size, stride):
            self._laid_as, self._laid = (size, stride), []
        host = self._host.numpy()[_FIELDS * size :]
        for i, own in enumerate(pages):
            if i == len(self._laid):
                self._laid.append([])
            if self._laid[i] != own:
                host[i * stride : i * stride + len(own)] = own
                self._laid[i] = own.copy()
        return stride
