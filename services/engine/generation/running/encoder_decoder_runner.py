"""Runs an encoder-decoder on the rows of one step: encoders one by one, decoders packed into one sequence."""

import inspect
import time
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from services.engine.generation.attention.backend import AttentionBackend
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.attention.encoder_decoder import (
    IMPLEMENTATION,
    EncoderDecoderCall,
    PagedCaches,
    PagedCrossAttention,
    PagedSelfAttention,
    attending_by,
    calling,
    configs_of,
)
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.running.runner import batch_of, fork_pages, tensor_of
from services.engine.generation.sequence import CachedTokens, Row


class Source(Protocol):
    """An encoder, and the decoder that attends to its output."""

    @property
    def decoder(self) -> PreTrainedModel:
        """The module that is run with the paged cache."""
        ...

    def read(self, sequence: CachedTokens) -> Tensor:
        """Returns the encoder's output `[1, tokens, width]`, with as many tokens as the sequence's source."""
        ...

    def decode(self, token_ids: Tensor, mask: Tensor, states: Tensor, caches: PagedCaches) -> Tensor:
        """Returns logits `[1, T, vocabulary]` after each of the tokens `[1, T]`.

        `mask` has no effect, but keeps a decoder from making one. `states` are the encoder's outputs for the sequences
        that begin, concatenated, or None.
        """
        ...


class TextSource:
    """An encoder-decoder whose encoder reads tokens."""

    output: type[BaseModelOutput] = BaseModelOutput
    """The class in which the decoder is given the encoder's output."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: Any = model
        self._cache_name = cache_name(model)

    @property
    def decoder(self) -> PreTrainedModel:
        """See Source."""
        return self._model.get_decoder()

    def read(self, sequence: CachedTokens) -> Tensor:
        """See Source."""
        source = tensor_of(sequence.source_ids, self._model.device).unsqueeze(0)
        return self._model.get_encoder()(input_ids=source, attention_mask=torch.ones_like(source))[0]

    def decode(self, token_ids: Tensor, mask: Tensor, states: Tensor, caches: PagedCaches) -> Tensor:
        """See Source."""
        output = self._model(
            decoder_input_ids=token_ids,
            decoder_attention_mask=mask,
            encoder_outputs=self.output(last_hidden_state=states),  # type: ignore[arg-type]
            use_cache=True,
            **{self._cache_name: caches},
        )
        return output.logits


def cache_name(model: PreTrainedModel) -> str:
    """Returns the name of the model's cache argument in this version of transformers."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class EncoderDecoderRunner:
    """A Runner of encoder-decoders. Keys and values of the encoder's output are in the sequence's `source_pages`."""

    def __init__(self, source: Source, backend: AttentionBackend, cache: KVCache) -> None:
        self._source = source
        decoder = source.decoder
        self._decoder_configs = configs_of(decoder)
        device = self._device = decoder.device
        self._backend = backend
        self._cache = cache
        self._cross = PagedCrossAttention(cache, device)
        self._pad_id = decoder.config.get_text_config(decoder=True).pad_token_id
        # Read by no attention here; that it is there keeps decoders from making one, and nothing of it is looked at.
        self._mask = torch.empty(1, 1, 1, 1, dtype=torch.bool, device=device)
        self._nothing_read = torch.empty(1, 0, 1, device=device, dtype=decoder.dtype)
        self.forward_seconds = 0.0

    @torch.inference_mode()
    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """See Runner.run."""
        # Some models place a token by how many before it are no padding, in their whole batch. A padding token itself
        # has no place, so that behind all others it harms nobody; in the middle of a row it would.
        alone = [row for row in rows if row.token_count > 1 and self._pads(row)]
        packed = sorted((row for row in rows if row not in alone), key=self._pads)
        logits: dict[Row[CachedTokens], Tensor] = {}
        for batch in (packed, *([row] for row in alone)):
            if batch:
                logits |= zip(batch, self._decode(batch), strict=True)
        wanted = [logits[row] for row in rows if row.completes]
        return torch.stack(wanted or list(logits.values())[:1])[: len(wanted)]

    @torch.inference_mode()
    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        """See Runner."""
        fork_pages(self._cache, pairs)

    def _pads(self, row: Row[CachedTokens]) -> bool:
        """Returns whether a padding token is among those to compute."""
        first = row.sequence.computed
        return self._pad_id in row.sequence.token_ids[first : first + row.token_count]

    def _decode(self, rows: list[Row[CachedTokens]]) -> Tensor:
        """Computes the rows' tokens and returns the logits `[rows, vocabulary]` after the last of each."""
        tokens: list[int] = []
        positions: list[int] = []
        cross: list[RowSpan] = []
        for row in rows:
            sequence, first = row.sequence, row.sequence.computed
            source, pages = len(sequence.source_ids), self._tensor(sequence.source_pages)
            # Each token by itself sees all of the source.
            cross += [RowSpan(len(tokens) + i, 1, source, pages) for i in range(row.token_count)]
            tokens += sequence.token_ids[first : first + row.token_count]
            positions += range(first, first + row.token_count)
        own_batch = batch_of(rows, self._cache, self._device)
        cross_batch = AttentionBatch(cross, self._tensor([]), self._cache)
        read = self._read([row.sequence for row in rows if not row.sequence.computed])
        lengths = PagedSelfAttention(self._tensor(positions), max(span.context for span in own_batch.rows))
        caches = PagedCaches(lengths, self._cross, begins=read is not None)
        plans = self._backend.plan(own_batch), self._backend.plan(cross_batch)
        logits = self._forward(tokens, caches, read, self._call(rows, caches, plans))
        self._note(rows, logits)
        last = [span.start + span.length - 1 for span in own_batch.rows]
        return logits if len(last) == len(logits) else logits[last]

    def _call(self, _rows: list[Row[CachedTokens]], caches: PagedCaches, plans: tuple[Any, Any]) -> EncoderDecoderCall:
        """Returns the call that the attention layers read; `plans` are those of self- and cross-attention."""
        return EncoderDecoderCall(self._backend, caches, *plans)

    def _note(self, rows: list[Row[CachedTokens]], logits: Tensor) -> None:
        """A hook that is given the logits `[T, vocabulary]` after each of the packed rows' tokens."""

    def _read(self, sequences: list[CachedTokens]) -> Tensor | None:
        """Returns the encoder's outputs for sequences that begin, concatenated: `[1, tokens of all, width]`.

        The decoder writes their keys and values to the sequences' source pages.
        """
        read: list[Tensor] = []
        slots: list[int] = []
        for sequence in sequences:
            began = time.perf_counter()
            read.append(self._source.read(sequence))
            self.forward_seconds += time.perf_counter() - began
            slots += self._cache.slots(sequence.source_pages, 0, len(sequence.source_ids))
        if not read:
            return None
        self._cross.slots = self._tensor(slots)
        joined = torch.cat(read, dim=1)
        # Some decoders project what they are given, even where that is nothing.
        self._nothing_read = joined.new_empty(1, 0, joined.shape[2])
        return joined

    def _forward(self, tokens: list[int], caches: PagedCaches, read: Tensor | None, call: EncoderDecoderCall) -> Tensor:
        states = self._nothing_read if read is None else read
        began = time.perf_counter()
        # For as long as a forward only: encoders, whose configuration may be the same, attend in their own way.
        with attending_by(self._decoder_configs, IMPLEMENTATION), calling(call):
            logits = self._source.decode(self._tensor(tokens).unsqueeze(0), self._mask, states, caches)
        self.forward_seconds += time.perf_counter() - began
        return logits[0].float()

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return tensor_of(values, self._device)
