"""The GPU backend: keys and values in pages, softmax in float32, products in the dtype of the cache."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from services.engine.fusion.triton.launch import following, is_early, power
from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.attention.triton.decoding import attend_token
from services.engine.generation.attention.triton.plan import QueryBlocks, TritonPlan, most_programs, plan_of
from services.engine.generation.attention.triton.reading import attend_reading
from services.engine.generation.attention.triton.storing import store_token
from services.engine.generation.attention.triton.tiles import DecodeTiles, looked_through
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout

_KINDS = {torch.float32, torch.bfloat16, torch.float16}
_MAX_WIDTH = 256
_MAX_GROUP = 128
_READING_BYTES = 256
"""Keys and values of up to this many bytes are loaded in the largest blocks by the kernel for prompts."""
_MOST_PARTS = 64
"""Most programs that share one context."""
_COUNTERS = 1 << 14


def takes(cache: KVCache) -> bool:
    """Returns whether the kernels support the dtype and the sizes of every layer."""
    return cache.by_token and all(
        layout.dtype in _KINDS
        and max(layout.key_width, layout.value_width) <= _MAX_WIDTH
        and layout.heads // layout.kv_heads <= _MAX_GROUP
        for layout in cache.layouts.values()
    )


@dataclass(frozen=True)
class Launch:
    """Constants of one layer, as kernels take them."""

    heads: int
    kv_heads: int
    widths: dict[str, Any]
    strides: tuple[int, int, int, int]
    """Strides of pages and of heads, first of keys, then of values."""
    scales: tuple[Tensor, Tensor, int, int]
    """Scales of keys and of values, with the strides of pages and of heads.

    If there are none, this is any tensor but a part of the cache, which may be freed.
    """

    @staticmethod
    def of(layout: LayerLayout, cache: KVCache, index: int) -> "Launch":
        """Returns the constants of a layer."""
        keys, values = cache.keys(index), cache.values(index)
        widths = {
            "KEY_WIDTH": layout.key_width,
            "KEY_BLOCK": _block(layout.key_width),
            "VALUE_WIDTH": layout.value_width,
            "VALUE_BLOCK": _block(layout.value_width),
            "COLUMNS": layout.columns,
            "PAGE": cache.page_size,
            "NARROW": layout.narrow,
        }
        strides = (keys.stride(0), keys.stride(1), values.stride(0), values.stride(1))
        nothing = keys.new_empty(1, 1)
        key_scales, value_scales = cache.scales(index) if layout.narrow else (nothing, nothing)
        scales = (key_scales, value_scales, key_scales.stride(0), key_scales.stride(1))
        return Launch(layout.heads, layout.kv_heads, widths, strides, scales)


@dataclass(frozen=True)
class OwnHeads:
    """How the decode kernel turns a row's projections into queries and keys."""

    cosines: Tensor
    sines: Tensor
    """Cosines and sines of each row's position are `[T, rotated]`."""
    rotated: int
    """The first numbers of a head, which are rotated in pairs `rotated / 2` apart."""
    scales: tuple[Tensor, Tensor] | None = None
    """Float32 scales of the RMS norms of query and key heads, if the model has these."""
    epsilon: float = 0.0


class TritonAttention:
    """Attention by Triton kernels. A token's result does not depend on other rows."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        cuda = device.type == "cuda"
        self.processors = torch.cuda.get_device_properties(device).multi_processor_count if cuda else 4
        self.tiles = DecodeTiles()
        self._plain = ReferenceAttention()
        self._launches = WeakKeyDictionary[KVCache, dict[int, Launch]]()
        self._layers: dict[int, tuple[AttentionLayer, LayerLayout]] = {}
        self._counters = [torch.zeros(_COUNTERS, dtype=torch.int32, device=device)]

    def plan(self, batch: AttentionBatch) -> TritonPlan:
        """See AttentionBackend.plan."""
        return plan_of(batch, self.programs)

    def programs(self, blocks: int) -> int:
        """Returns about how many programs should run for that many blocks of queries, over all key heads."""
        return self.tiles.of(blocks).programs * self.processors

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor, value: Tensor, plan: TritonPlan) -> Tensor:
        """See AttentionBackend.attend."""
        if layer.bias is not None:
            assert plan.batch is not None
            self._layers.pop(layer.index, None)
            return self._plain.attend(layer, query, key, value, plan.batch)
        self._layers[layer.index] = layer, plan.cache.layouts[layer.index]
        query, key, value = (
            tensor if tensor.stride(-1) == 1 else tensor.contiguous() for tensor in (query, key, value)
        )
        launch = self.launch(layer.index, plan.cache)
        if len(key):
            self._store(layer.index, key, value, plan, launch)
        output = query.new_empty(len(query), launch.heads, launch.widths["VALUE_WIDTH"], dtype=value.dtype)
        if plan.decoding is not None:
            self._decode(layer, query, output, plan, plan.decoding, launch)
        if plan.reading is not None:
            self._read(layer, query, output, plan, plan.reading, launch)
        return output

    def layer(self, index: int | None) -> tuple[AttentionLayer, LayerLayout] | None:
        """Returns the layer of that index and its layout if kernels have computed it before, else None."""
        return None if index is None else self._layers.get(index)

    def launch(self, index: int, cache: KVCache) -> Launch:
        """Returns the constants of a layer."""
        known = self._launches.setdefault(cache, {})
        if index not in known:
            known[index] = Launch.of(cache.layouts[index], cache, index)
        return known[index]

    def _store(self, index: int, key: Tensor, value: Tensor, plan: TritonPlan, launch: Launch) -> None:
        store_token[(len(key),)](
            key, value, plan.slots, plan.cache.keys(index), plan.cache.values(index),
            *key.stride()[:2], *value.stride()[:2], *launch.strides, *launch.scales,
            KV_HEADS=launch.kv_heads, HEADS_BLOCK=power(launch.kv_heads), **launch.widths,
        )  # fmt: skip

    def attend_own(self, layer: AttentionLayer, packed: Tensor, heads: "OwnHeads", plan: TritonPlan) -> Tensor:
        """Stores keys and values of rows of one token each and computes attention, in one kernel: `[T, heads,
        value_width]`.

        Args:
            layer: As in `attend`; it has no bias.
            packed: `[T, queries | keys | values]`, the output of the projections.
            heads: How queries and keys are normed and rotated.
            plan: Of rows of one token only.
        """
        assert plan.decoding is not None
        launch = self.launch(layer.index, plan.cache)
        output = packed.new_empty(len(packed), launch.heads, launch.widths["VALUE_WIDTH"])
        self._decode(layer, packed, output, plan, plan.decoding, launch, heads)
        return output

    def _decode(
        self,
        layer: AttentionLayer,
        query: Tensor,
        output: Tensor,
        plan: TritonPlan,
        blocks: QueryBlocks,
        launch: Launch,
        own: "OwnHeads | None" = None,
    ) -> None:
        count = len(blocks.table)
        tile, key_bytes = self.tiles.of(count), launch.widths["KEY_BLOCK"] * query.dtype.itemsize
        programs = most_programs(count, launch.kv_heads, self.programs(count))
        turned = tile.turned and not launch.widths["NARROW"]  # 8-bit numbers would need too many registers
        group = launch.heads // launch.kv_heads * blocks.size
        totals = query.new_empty(launch.kv_heads * programs * group, output.shape[-1], dtype=torch.float32)
        measures = query.new_empty(launch.kv_heads * programs * group, 2, dtype=torch.float32)
        rotation = own or OwnHeads(query, query, 0)
        strides = (query.stride(0), launch.widths["KEY_WIDTH"]) if own else query.stride()[:2]
        attend_token[(launch.kv_heads, programs)](
            query, rotation.cosines, rotation.sines, *(rotation.scales or (query, query)), plan.slots,
            plan.cache.keys(layer.index), plan.cache.values(layer.index), plan.pages, blocks.table, totals, measures,
            self._arrivals(count * launch.kv_heads), _sinks(layer, query), output, *strides, *launch.strides,
            *launch.scales,
            layer.scaling, *_bounds(layer), rotation.epsilon, count, HEADS=launch.heads, KV_HEADS=launch.kv_heads,
            M=max(power(group), 8 if turned else 16), TURNED=turned,
            N=tile.tokens_of(key_bytes), QUERIES=blocks.size, PARTS=_MOST_PARTS,
            **launch.widths, **_kind(layer), SINKS=layer.sinks is not None, ROTATED=rotation.rotated,
            NORM=bool(rotation.scales), BLOCKS=looked_through(count),
            **following(query.device), num_warps=tile.warps, num_stages=1,
        )  # fmt: skip

    def _arrivals(self, count: int) -> Tensor:
        """Returns at least `count` counters that are zero. A kernel that uses them sets them to zero again."""
        if count > len(self._counters[-1]):  # keep the old ones, since recorded CUDA graphs have their addresses
            self._counters.append(torch.zeros(power(count), dtype=torch.int32, device=self._device))
        return self._counters[-1]

    def _read(
        self,
        layer: AttentionLayer,
        query: Tensor,
        output: Tensor,
        plan: TritonPlan,
        blocks: QueryBlocks,
        launch: Launch,
    ) -> None:
        tokens, warps = _tokens_reading(query, launch, blocks.size)
        attend_reading[(launch.heads, len(blocks.table))](
            query, output, plan.cache.keys(layer.index), plan.cache.values(layer.index), plan.pages, blocks.table,
            _sinks(layer, query), *query.stride()[:2], *launch.strides, *launch.scales, layer.scaling, *_bounds(layer),
            HEADS=launch.heads, GROUP=launch.heads // launch.kv_heads, M=blocks.size, N=tokens,
            **launch.widths, **_kind(layer), SINKS=layer.sinks is not None, num_warps=warps, num_stages=3,
        )  # fmt: skip


def _tokens_reading(query: Tensor, launch: Launch, size: int) -> tuple[int, int]:
    """Returns how many tokens of the context a kernel loads at once, so that they fit shared memory, and its warps."""
    wide = max(launch.widths["KEY_BLOCK"], launch.widths["VALUE_BLOCK"]) * query.dtype.itemsize > _READING_BYTES
    # Converted 8-bit numbers take registers too.
    crowded = launch.widths["NARROW"] and is_early(query.device)
    return 32 if wide or crowded else 64, 8 if size == 128 or (size == 64 and wide and crowded) else 4


def _bounds(layer: AttentionLayer) -> tuple[float, int]:
    return float(layer.softcap or 0.0), layer.sliding_window or 0


def _kind(layer: AttentionLayer) -> dict[str, Any]:
    return {"SOFTCAP": layer.softcap is not None, "WINDOW": layer.sliding_window is not None}


def _sinks(layer: AttentionLayer, query: Tensor) -> Tensor:
    """Returns the sinks, or any tensor if there are none."""
    return query if layer.sinks is None else layer.sinks


def _block(width: int) -> int:
    """Returns the block size for a width: a power of two, at least the 16 that tensor cores take."""
    return max(power(width), 16)
