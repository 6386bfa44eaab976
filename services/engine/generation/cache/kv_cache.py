"""The tensors that hold keys and values, in pages that any sequence may own."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.native.arena import Arena

_LINE = 16
"""The columns of values are padded to a multiple of this, so that kernels read whole vectors."""


_SCALE = torch.float32
_GREATEST, _LEAST = 448.0, 1e-12
"""The greatest float8 number, and a floor for the greatest number of a row, which is divided by."""


def narrowed(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds numbers `[T, heads, width]` to float8_e4m3fn. Returns their bits as uint8, and scales `[T, heads]`."""
    wide = numbers.float()
    scales = wide.abs().amax(dim=-1).clamp(min=_LEAST) / _GREATEST
    within = (wide / scales.unsqueeze(-1)).clamp(-_GREATEST, _GREATEST)
    return within.to(torch.float8_e4m3fn).view(torch.uint8), scales


def widened(bits: Tensor, scales: Tensor) -> Tensor:
    """Returns the float32 numbers `[T, heads, width]` that the bits and scales of `narrowed` stand for."""
    return bits.view(torch.float8_e4m3fn).float() * scales.unsqueeze(-1)


@dataclass(frozen=True)
class LayerLayout:
    """Shape of one attention layer: its heads, and the widths of the key and the value it stores per token."""

    heads: int
    kv_heads: int
    key_width: int
    value_width: int
    dtype: torch.dtype
    narrow: bool = False
    """Whether they are stored as float8 with a scale for each token and head; `dtype` is that of the model."""

    @property
    def columns(self) -> int:
        """The width of a stored value, padding included."""
        return -(-self.value_width // _LINE) * _LINE

    @property
    def pair(self) -> int:
        """How many numbers lie side by side, along the width of keys and along the tokens of values.

        Two where they have 16 bits, as CPUs multiply and add such pairs at once.
        """
        return 2 if not self.narrow and self.dtype.itemsize == 2 and self.key_width % 2 == 0 else 1

    @property
    def bytes_per_token(self) -> int:
        """Bytes one token takes in this layer."""
        scales = 2 * _SCALE.itemsize if self.narrow else 0
        return self.kv_heads * ((self.key_width + self.columns) * self.stored.itemsize + scales)

    @property
    def stored(self) -> torch.dtype:
        """Element type in the cache."""
        return torch.uint8 if self.narrow else self.dtype


class KVCache:
    """Keys and values of `page_count` pages of `page_size` tokens, for each layer by its index.

    A slot is `page * page_size + offset`. A layer's keys are `[pages, kv_heads, key_width / pair, page_size, pair]`, so
    that a query is multiplied with all tokens of a page at once; its values are
    `[pages, kv_heads, page_size / pair, columns, pair]`.

    On a GPU, whose lanes read neighbours at once, the numbers of a token are contiguous instead: the shapes above are
    then views, with pairs of one number, of keys `[pages, kv_heads, page_size, key_width]` and values alike.

    A narrow layer holds float8_e4m3fn bits, and scales `[pages, kv_heads, page_size]` to multiply them with.
    """

    def __init__(
        self,
        layouts: dict[int, LayerLayout],
        page_count: int,
        page_size: int,
        device: torch.device,
        *,
        by_token: bool | None = None,
    ) -> None:
        """Allocates all memory. `by_token` says whether the numbers of a token are contiguous; by default, on a GPU."""
        self.layouts = layouts
        self.page_size = page_size
        self.by_token = device.type != "cpu" if by_token is None else by_token
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._scales: dict[int, tuple[Tensor, Tensor]] = {}
        arena = Arena()

        def take(layout: LayerLayout, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
            if device.type != "cpu":
                return torch.zeros(shape, dtype=dtype or layout.stored, device=device)
            # Written once, so that the system gives the memory now: within a step that takes milliseconds.
            return arena.take(math.prod(shape), dtype or layout.stored).view(shape).zero_()

        for layer, layout in layouts.items():
            heads, pair = layout.kv_heads, self._pair(layout)
            if self.by_token:
                keys = take(layout, page_count, heads, page_size, layout.key_width).transpose(2, 3).unsqueeze(-1)
            else:
                keys = take(layout, page_count, heads, layout.key_width // pair, page_size, pair)
            self._keys[layer] = keys
            self._values[layer] = take(layout, page_count, heads, page_size // pair, layout.columns, pair)
            if layout.narrow:
                room = take(layout, 2, page_count, heads, page_size, dtype=_SCALE)
                self._scales[layer] = room[0], room[1]

    def keys(self, layer: int) -> Tensor:
        """Returns all keys of a layer."""
        return self._keys[layer]

    def values(self, layer: int) -> Tensor:
        """Returns all values of a layer."""
        return self._values[layer]

    def scales(self, layer: int) -> tuple[Tensor, Tensor]:
        """Returns all scales of a narrow layer, of keys and of values."""
        return self._scales[layer]

    def slots(self, pages: list[int], first: int, end: int) -> list[int]:
        """Returns the slots of the tokens [first, end) of a sequence that owns `pages`, in order."""
        size = self.page_size
        return [pages[place // size] * size + place % size for place in range(first, end)]

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Stores `[T, kv_heads, width]` keys and values at the `T` slots. A slot may be written again."""
        layout = self.layouts[layer]
        pages, offsets = slots // self.page_size, slots % self.page_size
        pair = self._pair(layout)
        if layout.narrow:
            (keys, key_scales), (values, value_scales) = narrowed(keys), narrowed(values)
            for scales, new in zip(self._scales[layer], (key_scales, value_scales), strict=True):
                scales[pages, :, offsets] = new
        self._keys[layer][pages, :, :, offsets] = keys.unflatten(-1, (-1, pair))
        places = self._values[layer][..., : layout.value_width, :]
        places[pages, :, offsets // pair, :, offsets % pair] = values

    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        """Copies pages, in all layers. No page may be both a source and a target."""
        device = next(iter(self._keys.values())).device
        of, to = (torch.tensor(pages, dtype=torch.int64, device=device) for pages in (sources, targets))
        scales = (tensor for pair in self._scales.values() for tensor in pair)
        for tensor in (*self._keys.values(), *self._values.values(), *scales):
            tensor[to] = tensor[of]

    def read(self, layer: int, pages: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Returns keys and values `[count, kv_heads, width]` of the first `count` tokens of a sequence's pages."""
        used = pages[: -(-count // self.page_size)]
        keys = self._keys[layer].index_select(0, used).permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(2)
        values = self._values[layer].index_select(0, used).permute(0, 2, 4, 1, 3).flatten(0, 2)
        layout = self.layouts[layer]
        if layout.narrow:
            scales = (scale.index_select(0, used).transpose(1, 2).flatten(0, 1) for scale in self._scales[layer])
            keys, values = (
                widened(bits, scale).to(layout.dtype) for bits, scale in zip((keys, values), scales, strict=True)
            )
        return keys[:count], values[:count, :, : layout.value_width]

    def _pair(self, layout: LayerLayout) -> int:
        return 1 if self.by_token else layout.pair
