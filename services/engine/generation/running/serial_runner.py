"""Runs the rows of a step one by one, each on its sequence's own cache: for models whose state is not pages of keys."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.generation.cache.module_memory import ModuleMemory
from services.engine.generation.cache.own_cache import OwnCache
from services.engine.generation.sequence import CachedTokens, Row


class Continuation(Enum):
    """What a model can compute in one forward and come to the same as token by token."""

    CHUNKS = "chunks"
    """Any piece of a sequence."""
    WHOLE = "whole"
    """A whole sequence, before anything else was computed of it. Later, one token at a time."""
    STEPS = "steps"
    """Its prompt only: every token behind it has a forward of its own, as when it was generated."""


Given = Callable[[CachedTokens], Mapping[str, Any] | None]
"""Tells what `generate` is given for a sequence beside tokens; see OwnCache."""


def nothing_given(_sequence: CachedTokens) -> None:
    """A Given of models that read tokens only."""


class SerialRunner:
    """Stands where ModelRunner stands. A sequence's `state` is its OwnCache, made when it is missing or out of step."""

    def __init__(
        self,
        model: PreTrainedModel,
        continuation: Continuation,
        memory: ModuleMemory,
        given: Given = nothing_given,
    ) -> None:
        """See Given."""
        self._model = model
        self._given = given
        self._memory = memory
        self._continuation = continuation
        self.forward_seconds = 0.0

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """See Runner.run."""
        return torch.cat([self._advance(row) for row in rows])

    @torch.inference_mode()
    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        """Gives the second of each pair what the first has computed. Both then go on by themselves."""
        for parent, child in pairs:
            child.state = None if parent.state is None else parent.state.fork()

    def _advance(self, row: Row[CachedTokens]) -> Tensor:
        """Computes a row and returns those of its logits that are wanted, `[n, vocabulary]`."""
        sequence, end = row.sequence, row.sequence.computed + row.token_count
        cache: OwnCache | None = sequence.state
        sequence.state = None  # a failure leaves nothing behind
        if cache is None or cache.length != sequence.computed:
            cache = OwnCache(self._model, self._memory, self._given(sequence))
        # What is computed once more, because something has failed, is scored once more with it.
        before = sequence.computed - cache.length
        found: list[Tensor] = []
        for place in self._places(sequence, cache.length, end):
            scored = before + row.scored if row.scored and not found else 0
            began = time.perf_counter()
            found.append(cache.advance(sequence.token_ids[:place], sequence.source_ids, scored))
            self.forward_seconds += time.perf_counter() - began
        sequence.state = cache
        last = found[-1][-1:] if row.completes else found[-1][:0]
        return torch.cat([found[0][before : before + row.scored], last]) if row.scored else last

    def _places(self, sequence: CachedTokens, length: int, end: int) -> Iterator[int]:
        """Yields where each forward ends."""
        # Of what was generated behind media, nothing is taken for one that comes with them.
        if self._continuation is Continuation.STEPS or sequence.media is not None:
            yield from range(max(length + 1, sequence.prompt_count), end)
        elif self._continuation is Continuation.WHOLE and length:  # of what a fork has copied, say
            yield from range(length + 1, end)
        yield end
