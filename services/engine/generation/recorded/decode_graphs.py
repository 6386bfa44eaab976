"""Decode steps as CUDA graphs: the model's forward is recorded once for each of some batch sizes, and replayed.

Launching a model's hundreds of small kernels one by one takes longer than a small batch's arithmetic; a graph launches
them at once. It reads its inputs from fixed places, so rows are copied there first; a smaller batch is filled up with
rows that store nothing and see nothing.

Steps with proposed tokens have recordings of their own, by the number of tokens, whosever they are. Tokens of one
sequence attend to one another there, so all are stored before any attends.
"""

import logging
import time
from collections.abc import Callable, Collection
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
from services.engine.generation.attention.triton.plan import QueryBlocks, TritonPlan, most_queries, part_tokens
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.decode_inputs import DecodeInputs
from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.sampling.device_choice import choose, numbers_of
from services.engine.generation.sequence import CachedTokens, Row, Sequence
from services.engine.generation.speculation.speculation import MOST_TOKENS

log = logging.getLogger(__name__)

_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
_WIDE_SIZES = (4, 8, 16, 32, MOST_TOKENS)
"""Tokens of steps with proposals."""
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
    """Tokens."""
    wide: bool
    """Whether several may be of one sequence."""
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
        self._longest, self._queries = longest, most_queries(cache)
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
    def record(self, most: int, *, wide: bool = True, largest: bool = False) -> int:
        """Records sizes up to `most` rows and, if `wide`, those with proposals; if `largest`, one of either only.

        The largest comes first, whose memory the others use again. Returns how many sizes there are in all.

        Raises:
            Exception: the model's forward cannot be recorded. Nothing is used then.
        """
        plain = [(size, False) for size in recorded_sizes(most)]
        several = [(size, True) for size in reversed(_WIDE_SIZES)] if wide else []
        sizes = sorted(plain[:1] + several[:1] if largest else plain + several, reverse=True)
        room = sizes[0][0]
        self._inputs = self._inputs_for(room)
        self._given, self._tokens = torch.zeros(2, room, dtype=torch.int64, device=self._device)
        pinned = self._device.type == "cuda"
        self._told = [torch.zeros(room, dtype=torch.int64, pin_memory=pinned) for _ in range(_UNREAD)]
        self._graphs = []
        graphs = list[DecodeGraph]()
        for size in sizes:
            self._inputs.fill([], size[0], self._most_queries(wide=size[1]))
            graphs.append(self.recorded(*size))
        self._graphs = graphs[::-1]
        log.info("Decode steps of up to %d rows are recorded in %d graphs", plain[0][0], len(graphs))
        return len(plain) + len(several)

    def size_for(self, rows: Collection[Row[CachedTokens]]) -> int:
        """Returns the recorded size that takes these rows; 0 if none does."""
        if not all(row.completes and row.token_count == 1 + len(row.proposed) == 1 + row.scored for row in rows):
            return 0
        if any(row.sequence.media is not None and row.sequence.computed < row.sequence.prompt_count for row in rows):
            return 0  # it may be a medium's, whose embedding is none of the model's
        return self._size_for(rows)

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]], size: int) -> Tensor:
        """Returns float32 logits `[tokens, vocabulary]`, as Runner.run does; `size` is what `size_for` returned."""
        graph = self._replay(rows, size)
        return graph.logits[: sum(row.token_count for row in rows)].to(torch.float32, copy=True)

    @torch.inference_mode()
    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """See StepLauncher."""
        size = self._size_for(rows) if after else self.size_for(rows)
        if not size:
            return None
        began, behind = time.monotonic(), 1 if after else 0
        sequences = [row.sequence for row in rows for _ in range(row.token_count)]
        count, sources = len(sequences), [after.places[sequence] for sequence in sequences] if after else None
        sampled = numbers_of(sequences, [behind + i for row in rows for i in range(row.token_count)])
        graph = self._replay(rows, size, sources, sampled and sampled[0])
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
        if size := self._size_for(rows) if sources else self.size_for(rows):
            self._replay(rows, size, sources or None)
            assert self.share is not None
            self.share(self._tokens[: sum(row.token_count for row in rows)])

    def recorded(self, size: int, wide: bool) -> DecodeGraph:
        """Returns one size, recorded."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):  # compiles kernels and takes workspaces, neither of which can be recorded
            for _ in range(_WARM_UPS):
                self.forward(size, wide)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            logits = self.forward(size, wide)
        return DecodeGraph(size, wide, graph, logits)

    def forward(self, size: int, wide: bool) -> Tensor:
        """Runs the model on so many of the tokens that were filled in. Returns their logits."""
        given, sources, positions, slots, table, pages = self._inputs.parts(size)
        fill_in(given, sources, self._tokens, self._given[:size])
        blocks = QueryBlocks(table, self._most_queries(wide=wide), self._longest)
        plan = TritonPlan(self._cache, slots, pages, blocks, None, stored_first=wide)
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

    def _most_queries(self, *, wide: bool) -> int:
        return self._queries if wide else 1

    def _inputs_for(self, tokens: int) -> DecodeInputs:
        split = partial(part_tokens, cache=self._cache, processors=self._backend.processors)
        return DecodeInputs(tokens, self._row_pages, self._cache.page_size, self._device, split)

    def _size_for(self, rows: Collection[Row[CachedTokens]]) -> int:
        if max(len(row.sequence.pages) for row in rows) > self._row_pages:
            return 0
        count, wide = sum(row.token_count for row in rows), any(row.proposed for row in rows)
        return next((graph.size for graph in self._graphs if graph.wide == wide and graph.size >= count), 0)

    def _replay(
        self,
        rows: Collection[Row[CachedTokens]],
        size: int,
        sources: list[int] | None = None,
        numbers: NDArray[np.float64] | None = None,
    ) -> DecodeGraph:
        wide = any(row.proposed for row in rows)
        self._inputs.fill(rows, size, self._most_queries(wide=wide), sources, numbers)
        graph = next(graph for graph in self._graphs if (graph.size, graph.wide) == (size, wide))
        graph.graph.replay()
        return graph
