"""Attention on the CPU by the native library: float32 or bfloat16 cache, softmax in float32."""

import ctypes
from array import array

from torch import Tensor

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout
from services.engine.native.library import KINDS, UNIT, Library

PAGE_SIZE = 16
"""Tokens of a page. The library supports no other size."""
MAX_WIDTH = 576
"""Greatest width of a key or a value."""


class RowStruct(ctypes.Structure):
    """The struct `Row` of native.c."""

    _fields_ = (
        ("pages", ctypes.c_void_p),
        ("start", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("context", ctypes.c_int64),
    )


class LayerStruct(ctypes.Structure):
    """The struct `Layer` of native.c."""

    _fields_ = (
        ("heads", ctypes.c_int64),
        ("kv_heads", ctypes.c_int64),
        ("key_width", ctypes.c_int64),
        ("value_width", ctypes.c_int64),
        ("window", ctypes.c_int64),
        ("scaling", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("sinks", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("bias_tokens", ctypes.c_int64),
        ("bias_width", ctypes.c_int64),
    )


def takes(cache: KVCache) -> bool:
    """Returns whether the library supports the element type and the sizes of every layer."""
    return (
        cache.page_size == PAGE_SIZE
        and not cache.by_token
        and all(
            not layout.narrow
            and layout.dtype in KINDS
            and layout.pair * layout.dtype.itemsize == UNIT
            and max(layout.key_width, layout.value_width) <= MAX_WIDTH
            for layout in cache.layouts.values()
        )
    )


class NativeLayer:
    """One attention layer in the form that the library reads."""

    def __init__(self, layer: AttentionLayer, layout: LayerLayout) -> None:
        self._layer = layer
        self._sinks = None if layer.sinks is None else layer.sinks.detach().float().contiguous()
        self._bias = None if layer.bias is None else layer.bias.detach().float().contiguous()
        self._struct = LayerStruct(
            layout.heads,
            layout.kv_heads,
            layout.key_width,
            layout.value_width,
            layer.sliding_window or 0,
            layer.scaling,
            layer.softcap or 0.0,
            None if self._sinks is None else self._sinks.data_ptr(),
            *((None, 0, 0) if self._bias is None else (self._bias.data_ptr(), *self._bias.shape[1:])),
        )
        self.index = layer.index
        self.layout = layout
        self.address = ctypes.addressof(self._struct)

    def is_of(self, layer: AttentionLayer) -> bool:
        """Returns whether it was made from an equal layer."""
        own = self._layer
        return (
            own.sinks is layer.sinks
            and own.bias is layer.bias
            and (own.scaling, own.sliding_window, own.softcap)
            == (
                layer.scaling,
                layer.sliding_window,
                layer.softcap,
            )
        )


class StepStruct(ctypes.Structure):
    """The struct `Step` of native.c."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("slots", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("row_count", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("runs", ctypes.c_void_p),
        ("run_count", ctypes.c_int64),
    )


class CpuPlan:
    """A batch in the form that the library reads, made once per step. It keeps the memory that it points to alive."""

    def __init__(self, batch: AttentionBatch, threads: int) -> None:
        self.batch = batch
        self._rows = (RowStruct * len(batch.rows))(
            *((row.pages.data_ptr(), row.start, row.length, row.context) for row in batch.rows)
        )
        self.slots, self.rows, self.row_count = batch.slots.data_ptr(), ctypes.addressof(self._rows), len(batch.rows)
        self._runs = array("q", batch.runs)
        runs = self._runs.buffer_info()[0], len(self._runs) // 3
        self._step = StepStruct(len(batch.slots), self.slots, self.rows, self.row_count, threads, *runs)
        self.step = ctypes.addressof(self._step)


class CpuAttention:
    """Attention by the native library. A token's result does not depend on other rows or on how prompts are chunked."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._layers: dict[int, NativeLayer] = {}

    def plan(self, batch: AttentionBatch) -> CpuPlan:
        """See AttentionBackend.plan."""
        return CpuPlan(batch, self._library.threads)

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: CpuPlan) -> Tensor:
        """See AttentionBackend.attend."""
        layout = plan.batch.cache.layouts[layer.index]
        if query.shape[1:] != (layout.heads, layout.key_width):
            raise ValueError(f"queries of shape {tuple(query.shape)} do not fit {layout}")
        query, key, value = (_dense_heads(tensor) for tensor in (query, key, value))
        at_query, at_key, at_value = ((tensor.data_ptr(), tensor.stride(0)) for tensor in (query, key, value))
        return self._run(self._native(layer, plan.batch.cache), query, at_query, at_key, at_value, plan)

    def attend_packed(self, layer: NativeLayer, packed: Tensor, plan: CpuPlan) -> Tensor:
        """Does the same as `attend`, for `[T, queries | keys | values]`: all heads of a token in one row."""
        layout, begin, size = layer.layout, packed.data_ptr(), packed.dtype.itemsize
        key = begin + layout.heads * layout.key_width * size
        value = key + layout.kv_heads * layout.key_width * size
        stride = packed.stride(0)
        return self._run(layer, packed, (begin, stride), (key, stride), (value, stride), plan)

    def layer(self, index: int | None) -> NativeLayer | None:
        """Returns the layer of that index if it has been called before, else None."""
        return None if index is None else self._layers.get(index)

    def _run(
        self,
        layer: NativeLayer,
        like: Tensor,
        query: tuple[int, int],
        key: tuple[int, int],
        value: tuple[int, int],
        plan: CpuPlan,
    ) -> Tensor:
        """Stores and attends. Queries, keys and values are given as (address, stride of tokens); `like` has dtype and
        count.
        """
        cache, dtype, layout = plan.batch.cache, like.dtype, layer.layout
        keys, values = cache.keys(layer.index).data_ptr(), cache.values(layer.index).data_ptr()
        self._library.store[dtype](layer.address, plan.slots, len(plan.batch.slots), *key, *value, keys, values)
        output = like.new_empty(len(like), layout.heads, layout.value_width)
        to = (output.data_ptr(), output.stride(0))
        threads = self._library.threads
        self._library.attend[dtype](layer.address, plan.rows, plan.row_count, *query, keys, values, *to, threads)
        return output

    def _native(self, layer: AttentionLayer, cache: KVCache) -> NativeLayer:
        """Returns the layer in native form, rebuilt if the module passes other properties than before."""
        layout, known = cache.layouts[layer.index], self._layers.get(layer.index)
        if known is None or known.layout is not layout or not known.is_of(layer):
            known = self._layers[layer.index] = NativeLayer(layer, layout)
        return known


def _dense_heads(tensor: Tensor) -> Tensor:
    """Returns `[T, heads, width]` in which the heads of a token are contiguous."""
    _, _, width = tensor.shape
    return tensor if tensor.stride()[1:] == (width, 1) else tensor.contiguous()
