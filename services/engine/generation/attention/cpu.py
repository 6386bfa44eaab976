"""The CPU's backend: a compiled kernel for rows of a few tokens, torch's own attention for long chunks of prompts."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.attention.kernel import MAX_GROUP, MAX_WIDTH, PAGE_SIZE, KernelLayer, KernelRow
from services.engine.generation.attention.reference import attend_row, visible
from services.engine.generation.kv_cache import KVCache

_KINDS = {torch.float32: "f32", torch.bfloat16: "bf16"}
LONG = 32
"""New tokens from which on a row is worth a matrix product of its own."""


def kernel_takes(cache: KVCache) -> bool:
    """Returns whether the kernel knows the element type and the sizes of every layer."""
    return cache.page_size == PAGE_SIZE and all(
        layout.dtype in _KINDS
        and max(layout.key_width, layout.value_width) <= MAX_WIDTH
        and layout.heads <= MAX_GROUP * layout.kv_heads
        for layout in cache.layouts.values()
    )


@dataclass(frozen=True)
class CpuPlan:
    """A batch as the kernel reads it, made once per step. Keeps alive what its rows point to."""

    batch: AttentionBatch
    short: ctypes.Array[KernelRow]
    long: list[RowSpan]


class CpuAttention:
    """Attention over float32 and bfloat16 caches, softmax in float32."""

    def __init__(self, kernel: ctypes.CDLL) -> None:
        self._attend = {dtype: getattr(kernel, f"attend_{kind}") for dtype, kind in _KINDS.items()}
        self._store = {dtype: getattr(kernel, f"store_{kind}") for dtype, kind in _KINDS.items()}

    def plan(self, batch: AttentionBatch) -> CpuPlan:
        """See AttentionBackend.plan."""
        short = [row for row in batch.rows if row.length < LONG]
        rows = (KernelRow * len(short))(
            *(KernelRow(row.pages.data_ptr(), row.start, row.length, row.context) for row in short)
        )
        return CpuPlan(batch, rows, [row for row in batch.rows if row.length >= LONG])

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: CpuPlan) -> Tensor:
        """See AttentionBackend.attend."""
        batch = plan.batch
        keys, values = batch.cache.keys(layer.index), batch.cache.values(layer.index)
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        sinks = None if layer.sinks is None else layer.sinks.float().contiguous()
        bias = None if layer.bias is None else layer.bias.float().contiguous()
        shape = KernelLayer(
            query.shape[1],
            key.shape[1],
            key.shape[2],
            value.shape[2],
            layer.sliding_window or 0,
            layer.scaling,
            layer.softcap or 0.0,
            None if sinks is None else sinks.data_ptr(),
            *((None, 0, 0) if bias is None else (bias.data_ptr(), *bias.shape[1:])),
        )
        output = query.new_empty(*query.shape[:2], value.shape[2])
        at = ctypes.addressof(shape)
        arguments = (key.data_ptr(), value.data_ptr(), keys.data_ptr(), values.data_ptr())
        self._store[key.dtype](at, batch.slots.data_ptr(), len(key), *arguments)
        arguments = (query.data_ptr(), keys.data_ptr(), values.data_ptr(), output.data_ptr())
        self._attend[key.dtype](at, ctypes.addressof(plan.short), len(plan.short), *arguments)
        for row in plan.long:
            span = slice(row.start, row.start + row.length)
            keys, values = batch.cache.read(layer.index, row.pages, row.context)
            output[span] = _attend_long(layer, query[span], keys, values, layer.bias_of(row))
        return output


def _attend_long(layer: AttentionLayer, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attends from `[n, heads, width]` to `[context, kv_heads, width]` by torch's fused attention where it can."""
    if layer.softcap is not None or layer.sinks is not None or bias is not None:
        return attend_row(layer, query, keys, values, bias)
    new, context = len(query), len(keys)
    whole = new == context and layer.sliding_window is None
    mask = None if whole else visible(new, context, layer.sliding_window, query.device)
    group = query.shape[1] // keys.shape[1]
    # Repeated heads are views until torch's kernel reads them.
    repeated = (tensor.transpose(0, 1).repeat_interleave(group, dim=0).unsqueeze(0) for tensor in (keys, values))
    attended = scaled_dot_product_attention(
        query.transpose(0, 1).unsqueeze(0), *repeated, attn_mask=mask, is_causal=whole, scale=layer.scaling
    )
    return attended[0].transpose(0, 1)
