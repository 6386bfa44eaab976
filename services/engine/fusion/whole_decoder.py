"""A whole decoder in one call of the native library, from token ids to logits."""

import ctypes
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from services.engine.fusion.angles import AngleTable
from services.engine.fusion.decoder import FusedDecoderLayer, Workspace
from services.engine.fusion.norm import FusedNorm
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.native.library import Library
from services.engine.native.linear import NativeLinear


class WholeStruct(ctypes.Structure):
    """The struct `Whole` of native.c."""

    _fields_ = (
        ("embeddings", ctypes.c_void_p),
        ("layers", ctypes.c_void_p),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("norm", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
        ("head", ctypes.c_void_p),
        ("hidden", ctypes.c_int64),
        ("rotated", ctypes.c_int64),
        ("room", ctypes.c_int64),
    )


@dataclass(frozen=True)
class DecoderParts:
    """All parts of a decoder-only model."""

    embeddings: nn.Embedding
    layers: Sequence[FusedDecoderLayer]
    """In order. All use the same rotary angles."""
    angles: AngleTable
    norm: FusedNorm
    head: NativeLinear


class WholeDecoder:
    """Computes a step of text tokens, bit for bit as the model's own forward does with fused layers."""

    def __init__(self, library: Library, parts: DecoderParts, cache: KVCache) -> None:
        layers, dtype = parts.layers, parts.head.dtype
        self._parts = parts  # the library reads their memory
        self._count, self._width = parts.embeddings.weight.shape
        self._layers = array("q", [layer.address for layer in layers])
        room, rotated = max(layer.room for layer in layers), parts.angles.rotated
        self._struct = WholeStruct(
            parts.embeddings.weight.data_ptr(),
            _address(self._layers),
            None,
            None,
            len(layers),
            parts.norm.address,
            parts.norm.epsilon,
            parts.head.address,
            self._width,
            rotated,
            room,
        )
        self._room = room + self._width + 2 * rotated
        self._workspace = Workspace(dtype)
        self._decode, self._library = library.decode_whole[dtype], library
        self.use(cache)

    def use(self, cache: KVCache) -> None:
        """Uses the keys and values of this cache from now on."""
        indices = [layer.native.index for layer in self._parts.layers]
        self._cache = cache
        self._keys = array("q", [cache.keys(index).data_ptr() for index in indices])
        self._values = array("q", [cache.values(index).data_ptr() for index in indices])
        self._struct.keys, self._struct.values = _address(self._keys), _address(self._values)

    def run(
        self,
        rows: Collection[Row[CachedTokens]],
        tokens: list[int],
        kept: list[int],
        places: Sequence[int] = (),
        runs: Sequence[int] = (),
    ) -> Tensor | None:
        """Runs a step and returns float32 logits `[len(kept), vocabulary]` of the tokens at the ascending indices
        `kept`.

        Logits of `kept[i]` are at row `places[i]`, or at row i if there are no `places`. For `runs` see AttentionBatch.
        Returns None if the model's own forward has to run the step: for sequences with media, and for invalid token
        ids.
        """
        if max(tokens) >= self._count or min(tokens) < 0:
            return None  # the model's own forward raises the error
        spans: list[int] = []
        pages: list[int] = []
        for row in rows:
            sequence, count = row.sequence, row.token_count
            if sequence.media is not None:
                return None
            pages += sequence.pages
            spans += len(sequence.pages), count, sequence.computed + count
        return self._logits(tokens, kept, places or range(len(kept)), spans, pages, runs)

    def _logits(
        self,
        tokens: list[int],
        kept: list[int],
        places: Sequence[int],
        spans: list[int],
        pages: list[int],
        runs: Sequence[int],
    ) -> Tensor:
        given = [array("q", numbers) for numbers in (tokens, kept, places, spans, pages, runs)]
        at_tokens, at_kept, at_places, at_spans, at_pages, at_runs = map(_address, given)
        cosines, sines = self._parts.angles.up_to(max(spans[2::3]))
        logits = torch.empty(len(kept), self._parts.head.out_features)
        self._decode(
            ctypes.addressof(self._struct),
            at_tokens,
            len(tokens),
            at_kept,
            len(kept),
            at_places,
            at_spans,
            len(spans) // 3,
            at_pages,
            at_runs,
            len(runs) // 3,
            cosines,
            sines,
            self._workspace.address(self._room * len(tokens)),
            logits.data_ptr(),
            self._library.threads,
        )
        return logits


def _address(numbers: "array[int]") -> int:
    return numbers.buffer_info()[0]
