"""Runs decoders that write what an encoder hears, and notes what they tell of the sound besides."""

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
    """A row whose looks are noted: where its tokens lie in the batch, and where what it hears lies in the cache."""

    start: int
    count: int
    pages: Tensor
    frames: int
    hearing: Hearing


@dataclass(frozen=True)
class ListeningCall(EncoderDecoderCall):
    """An EncoderDecoderCall that notes where rows look."""

    cache: KVCache
    heads: dict[int, list[int]]
    """By layer, those that follow the sound."""
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
    """What decoders are given as an encoder's output; some look for a mask there."""

    attention_mask: Tensor | None = None


class HeardSource(TextSource):
    """An encoder-decoder whose sequences have a Hearing, its window encoded, in the place of tokens."""

    output = HeardStates

    def read(self, sequence: CachedTokens) -> Tensor:
        """See Source."""
        hearing = _hearing(sequence)
        assert hearing.media[0].features is not None
        return hearing.media[0].features[None]


class ListeningRunner(EncoderDecoderRunner):
    """Over a HeardSource."""

    heads: tuple[tuple[int, int], ...] = ()
    """Alignment heads: pairs of a layer and a head."""

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
