"""Runs the model on the rows of one step, packed into one sequence."""

from collections.abc import Collection
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.engine.generation.attention.backend import AttentionBackend, AttentionCall
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.kv_cache import KVCache
from services.engine.generation.sequence import CachedTokens, Row


class Runner(Protocol):
    """Owns a model's forward. Running the same rows again is harmless, whatever failed before."""

    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """Computes the rows' tokens and keeps what later ones need of them.

        Returns the float32 logits `[n, vocabulary]` behind the last token of each of the `n` rows that complete their
        sequence, in the order of the rows.
        """
        ...


class ModelRunner:
    """Owns the model's forward. Running the same rows again is harmless: they write the same slots."""

    def __init__(self, model: nn.Module, backend: AttentionBackend, cache: KVCache, device: torch.device) -> None:
        self._model = model
        self._backend = backend
        self._cache = cache
        self._device = device

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """Computes the rows' tokens and stores their keys and values.

        Returns the float32 logits `[n, vocabulary]` behind the last token of each of the `n` rows that complete their
        sequence, in the order of the rows.
        """
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[NDArray[np.int64]] = []
        spans: list[RowSpan] = []
        wanted: list[int] = []
        for row in rows:
            first, context = row.sequence.computed, row.sequence.computed + row.token_count
            pages = np.array(row.sequence.pages, dtype=np.int64)
            spans.append(RowSpan(len(tokens), row.token_count, context, self._tensor(pages)))
            slots.append(self._cache.slots(pages, first, context))
            tokens += row.sequence.token_ids[first:context]
            positions += range(first, context)
            if row.completes:
                wanted.append(len(tokens) - 1)
        batch = AttentionBatch(spans, self._tensor(np.concatenate(slots)), self._cache)
        logits = self._forward(tokens, positions, wanted or [len(tokens) - 1], batch)
        return logits[: len(wanted)]

    def _forward(self, tokens: list[int], positions: list[int], wanted: list[int], batch: AttentionBatch) -> Tensor:
        output = self._model(
            input_ids=self._tensor(np.array([tokens])),
            position_ids=self._tensor(np.array([positions])),
            logits_to_keep=self._tensor(np.array(wanted)),
            use_cache=False,
            attention_call=AttentionCall(self._backend, self._backend.plan(batch)),
        )
        return output.logits[0].float()

    def _tensor(self, values: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self._device)
