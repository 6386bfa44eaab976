"""Runs the rows of a step one by one, each on its sequence's own cache: for models whose state is not pages of keys."""

from collections.abc import Collection, Iterator
from enum import Enum

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.generation.module_memory import ModuleMemory
from services.engine.generation.own_cache import OwnCache
from services.engine.generation.sequence import CachedTokens, Row


class Continuation(Enum):
    """What a model can compute in one forward and come to the same as token by token."""

    CHUNKS = "chunks"
    """Any piece of a sequence."""
    WHOLE = "whole"
    """A whole sequence, before anything else was computed of it."""
    STEPS = "steps"
    """Its prompt only: every token behind it has a forward of its own, as when it was generated."""


class SerialRunner:
    """Stands where ModelRunner stands. A sequence's `state` is its OwnCache, made when it is missing or out of step."""

    def __init__(self, model: PreTrainedModel, continuation: Continuation, memory: ModuleMemory) -> None:
        self._model = model
        self._memory = memory
        self._continuation = continuation

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """See Runner.run."""
        logits = [self._advance(row.sequence, row.sequence.computed + row.token_count) for row in rows]
        wanted = [line for line, row in zip(logits, rows, strict=True) if row.completes]
        return torch.stack(wanted or logits[:1])[: len(wanted)]

    @torch.inference_mode()
    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        """Gives the second of each pair what the first has computed. Both then go on by themselves."""
        for parent, child in pairs:
            child.state = None if parent.state is None else parent.state.fork()

    def _advance(self, sequence: CachedTokens, end: int) -> Tensor:
        """Computes a sequence's tokens up to `end` and returns the logits `[vocabulary]` behind the last."""
        cache: OwnCache | None = sequence.state
        sequence.state = None  # a failure leaves nothing behind
        if cache is None or cache.length != sequence.computed:
            cache = OwnCache(self._model, self._memory)
        logits = torch.empty(0)
        for place in self._places(sequence, cache.length, end):
            logits = cache.advance(sequence.token_ids[:place], sequence.source_ids)
        sequence.state = cache
        return logits

    def _places(self, sequence: CachedTokens, length: int, end: int) -> Iterator[int]:
        """Yields where each forward ends."""
        if self._continuation is Continuation.STEPS:
            yield from range(max(length + 1, sequence.prompt_count), end)
        yield end
