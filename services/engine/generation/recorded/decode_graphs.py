"""Decode steps as CUDA graphs: the model's forward is recorded once for each of some batch sizes, and replayed.

Launching a model's hundreds of small kernels one by one takes longer than a small batch's arithmetic; a graph launches
them at once. It reads its inputs from fixed places, so rows are copied there first; a smaller batch is filled up with
rows that store nothing and see nothing.
"""

import logging
import time
from collections.abc import Callable, Collection
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.engine.fusion.triton.likeliest import LikeliestTokens, fill_in
from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.plan import QueryBlocks, TritonPlan, part_tokens
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.decode_inputs import DecodeInputs
from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.sampling.device_choice import choose, numbers_of
from services.engine.generation.sequence import CachedTokens, Row, Sequence

log = logging.getLogger(__name__)

_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
_WARM_UPS = 2
_UNREAD = 2
"""Steps at most whose tokens nobody has read yet."""


def recorded_sizes(most: int) -> list[int]:
    """Returns the sizes that are recorded for steps of up to `most` rows, the largest first."""
    return sorted({size for size in _SIZES if size < most} | {min(most, _SIZES[-1])}, reverse=True)


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
        self.share: Callable[[Tensor], object] | None = None
        """See Recorded."""
        self._graphs: list[DecodeGraph] = []
        self._pool: Any = None
        self._inputs = self._inputs_for(0)
        self._likeliest: LikeliestTokens | None = None
        self._given = self._tokens = torch.empty(0, dtype=torch.int64)
        self._told: list[Tensor] = []
        self._count = 0

    @torch.inference_mode()
    def record(self, most: int, count: int | None = None) -> None:
        """Records sizes up to `most` rows, the largest first, whose memory the others use again; at most `count`.

        Raises:
            Exception: the model's forward cannot be recorded. Nothing is used then.
        """
        sizes = recorded_sizes(most)[:count]
        self._inputs = self._inputs_for(sizes[0])
        self._given, self._tokens = torch.zeros(2, sizes[0], dtype=torch.int64, device=self._device)
        self._told = [
            torch.zeros(sizes[0], dtype=torch.int64, pin_memory=self._device.type == "cuda") for _ in range(_UNREAD)
        ]
        graphs = list[DecodeGraph]()
        for size in sizes:
            self._inputs.fill([], size)
            graphs.append(self.recorded(size))
        self._graphs = graphs[::-1]
        log.info("Decode steps of up to %d rows are recorded in %d graphs", sizes[0], len(sizes))

    def count_for(self, most: int) -> int:
        """Returns how many sizes are recorded for steps of up to `most` rows."""
        return len(recorded_sizes(most))

    def size_for(self, rows: Collection[Row[CachedTokens]]) -> int:
        """Returns the recorded size that takes these rows; 0 if none does."""
        if not all(row.token_count == 1 and row.completes and not row.scored for row in rows):
            return 0
        if any(row.sequence.media is not None and row.sequence.computed < row.sequence.prompt_count for row in rows):
            return 0  # it may be a medium's, whose embedding is none of the model's
        return self._size_for([row.sequence for row in rows])

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]], size: int) -> Tensor:
        """Returns float32 logits `[rows, vocabulary]`, as Runner.run does; `size` is what `size_for` returned."""
        graph = self._replay([row.sequence for row in rows], size)
        return graph.logits[: len(rows)].to(torch.float32, copy=True)

    @torch.inference_mode()
    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """See StepLauncher."""
        sequences = [row.sequence for row in rows]
        size, count = self._size_for(sequences) if after else self.size_for(rows), len(sequences)
        if not size:
            return None
        began = time.monotonic()
        sampled = numbers_of(sequences, 1 if after else 0)
        sources = [after.places[sequence] for sequence in sequences] if after else None
        graph = self._replay(sequences, size, sources, sampled and sampled[0])
        tokens = self._tokens[:count]
        if sampled:
            tokens.copy_(choose(graph.logits[:count], tokens, self._inputs.numbers(size)[:, :count], sampled[1]))
        if self.share is not None:
            self.share(tokens)
        told = self._told[self._count % _UNREAD][:count]
        self._count += 1
        told.copy_(tokens, non_blocking=True)
        arrived = torch.cuda.Event() if self._device.type == "cuda" else None
        if arrived is not None:
            arrived.record()
        return LaunchedStep(sequences, told, arrived, began)

    @torch.inference_mode()
    def follow(self, rows: Collection[Row[CachedTokens]], sources: list[int]) -> None:
        """See Recorded."""
        sequences = [row.sequence for row in rows]
        if size := self._size_for(sequences) if sources else self.size_for(rows):
            self._replay(sequences, size, sources or None)
            assert self.share is not None
            self.share(self._tokens[: len(sequences)])

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
        given, sources, positions, slots, table, pages = self._inputs.parts(size)
        fill_in(given, sources, self._tokens, self._given[:size])
        plan = TritonPlan(self._cache, slots, pages, QueryBlocks(table, 1, self._longest), None)
        output = self._model(
            input_ids=self._given[:size].unsqueeze(0),
            position_ids=positions.unsqueeze(0),
            logits_to_keep=0,
            use_cache=False,
            attention_call=AttentionCall(self._backend, plan),
        )
        logits = output.logits[0]
        if self._likeliest is None:
            self._likeliest = LikeliestTokens(len(self._tokens), logits.shape[-1], self._device)
        self._likeliest.find(logits, self._tokens)
        return logits

    def _inputs_for(self, rows: int) -> DecodeInputs:
        split = partial(part_tokens, cache=self._cache, processors=self._backend.processors)
        return DecodeInputs(rows, self._row_pages, self._cache.page_size, self._device, split)

    def _size_for(self, sequences: Sequences[CachedTokens]) -> int:
        if max(len(sequence.pages) for sequence in sequences) > self._row_pages:
            return 0
        return next((graph.size for graph in self._graphs if graph.size >= len(sequences)), 0)

    def _replay(
        self,
        sequences: Sequences[CachedTokens],
        size: int,
        sources: list[int] | None = None,
        numbers: NDArray[np.float64] | None = None,
    ) -> DecodeGraph:
        self._inputs.fill(sequences, size, sources, numbers)
        graph = next(graph for graph in self._graphs if graph.size == size)
        graph.graph.replay()
        return graph
