"""Runs the decoders of speech models, and records no-speech probabilities and cross-attention on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.encoder_decoder import EncoderDecoderCall, PagedCaches
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.running.encoder_decoder_runner import EncoderDecoderRunner, TextSource
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.listening.hearing import Hearing


@dataclass(frozen=True)
class Aligned:
    """A row whose cross-attention is recorded: its tokens in the batch, and its source pages in the cache."""

    start: int
    count: int
    pages: Tensor
    frames: int
    hearing: Hearing


@dataclass(frozen=True)
class ListeningCall(EncoderDecoderCall):
    """An EncoderDecoderCall that records the cross-attention of alignment heads."""

    cache: KVCache
    heads: dict[int, list[int]]
    """Alignment heads, by layer."""
    aligned: Sequence[Aligned]

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor) -> Tensor:
        """See EncoderDecoderCall."""
        if layer.index in self.heads and key is self.caches.cross.handle(layer.index):
            for row in self.aligned:
                keys, _ = self.cache.read(layer.index, row.pages, row.frames)
                chosen = self.heads[layer.index]
                queries = query[row.start : row.start + row.count, chosen].float()
                scores = torch.einsum("thw,fhw->htf", queries, keys[:, chosen].float()) * layer.scaling
                row.hearing.look(layer.index, scores.softmax(-1))
        return super().attend(layer, query, key)


@dataclass
class HeardStates(BaseModelOutput):
    """The encoder output for decoders; some read an attention mask from it."""

    attention_mask: Tensor | None = None


class HeardSource(TextSource):
    """The source of sequences whose media is a Hearing with an encoded window."""

    output = HeardStates

    def read(self, sequence: CachedTokens) -> Tensor:
        """See Source."""
        hearing = _hearing(sequence)
        assert hearing.media[0].features is not None
        return hearing.media[0].features[None]


class ListeningRunner(EncoderDecoderRunner):
    """An EncoderDecoderRunner over a HeardSource; records what a Hearing asks for."""

    heads: tuple[tuple[int, int], ...] = ()
    """Alignment heads: pairs of a decoder layer and a head."""

    def _call(self, _rows: list[Row[CachedTokens]], caches: PagedCaches, plans: tuple[Any, Any]) -> EncoderDecoderCall:
        aligned: list[Aligned] = []
        start = 0
        for row in _rows:
            sequence, hearing = row.sequence, _hearing(row.sequence)
            if hearing.aligns and not sequence.computed:
                hearing.begin()
            count = min(row.token_count, sequence.prompt_count - sequence.computed)
            if hearing.aligns and count > 0:
                pages = self._tensor(sequence.source_pages)
                aligned.append(Aligned(start, count, pages, len(sequence.source_ids), hearing))
            start += row.token_count
        heads: dict[int, list[int]] = {}
        for layer, head in sorted(self.heads):
            heads.setdefault(layer, []).append(head)
        return ListeningCall(self._backend, caches, *plans, self._cache, heads, aligned)

    def _note(self, rows: list[Row[CachedTokens]], logits: Tensor) -> None:
        start = 0
        for row in rows:
            hearing, first = _hearing(row.sequence), row.sequence.computed
            if first <= hearing.start_place < first + row.token_count:
                hearing.start = logits[start + hearing.start_place - first].log_softmax(-1)
            start += row.token_count


def _hearing(sequence: CachedTokens) -> Hearing:
    assert isinstance(sequence.media, Hearing)
    return sequence.media
