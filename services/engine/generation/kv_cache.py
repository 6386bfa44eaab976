"""The tensors that hold keys and values, in pages that any sequence may own."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.native.arena import Arena

_LINE = 16
"""Columns of values are filled up to a multiple of this, so that kernels read whole vectors."""


@dataclass(frozen=True)
class LayerLayout:
    """Shape of one attention layer: its heads, and the widths of the key and the value it stores per token."""

    heads: int
    kv_heads: int
    key_width: int
    value_width: int
    dtype: torch.dtype

    @property
    def columns(self) -> int:
        """Numbers a value takes in the cache."""
        return -(-self.value_width // _LINE) * _LINE

    @property
    def pair(self) -> int:
        """Numbers that processors have next to each other, along the width of keys and along the tokens of values.

        Two of 16 bits, which they multiply and add at once.
        """
        return 2 if self.dtype.itemsize == 2 and self.key_width % 2 == 0 else 1

    @property
    def bytes_per_token(self) -> int:
        """Bytes one token takes in this layer."""
        return self.kv_heads * (self.key_width + self.columns) * self.dtype.itemsize


class KVCache:
    """Keys and values of `page_count` pages of `page_size` tokens, for each layer by its index.

    A slot is `page * page_size + offset`. A layer's keys are `[pages, kv_heads, key_width / pair, page_size, pair]`, so
    that a query is multiplied with all tokens of a page at once; its values are
    `[pages, kv_heads, page_size / pair, columns, pair]`.

    On a GPU a token's numbers lie behind one another instead, for its lanes read neighbours at once: these shapes are
    then views with pairs of one, of keys `[pages, kv_heads, page_size, key_width]` and of values alike.
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
        """Takes all memory now. `by_token` says whether a token's numbers lie together, as by default on a GPU."""
        self.layouts = layouts
        self.page_size = page_size
        self.by_token = device.type != "cpu" if by_token is None else by_token
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        arena = Arena()

        def take(layout: LayerLayout, *shape: int) -> Tensor:
            if device.type != "cpu":
                return torch.zeros(shape, dtype=layout.dtype, device=device)
            # Written once, so that the system gives the memory now: within a step that takes milliseconds.
            return arena.take(math.prod(shape), layout.dtype).view(shape).zero_()

        for layer, layout in layouts.items():
            heads, pair = layout.kv_heads, self._pair(layout)
            if self.by_token:
                keys = take(layout, page_count, heads, page_size, layout.key_width).transpose(2, 3).unsqueeze(-1)
            else:
                keys = take(layout, page_count, heads, layout.key_width // pair, page_size, pair)
            self._keys[layer] = keys
            self._values[layer] = take(layout, page_count, heads, page_size // pair, layout.columns, pair)

    def keys(self, layer: int) -> Tensor:
        """Returns all keys of a layer."""
        return self._keys[layer]

    def values(self, layer: int) -> Tensor:
        """Returns all values of a layer."""
        return self._values[layer]

    def slots(self, pages: list[int], first: int, end: int) -> list[int]:
        """Returns the slots of the tokens [first, end) of a sequence that owns `pages`, in order."""
        size = self.page_size
        return [pages[place // size] * size + place % size for place in range(first, end)]

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Stores `[T, kv_heads, width]` keys and values at the `T` slots. Writing the same slot again is harmless."""
        layout = self.layouts[layer]
        pages, offsets = slots // self.page_size, slots % self.page_size
        pair = self._pair(layout)
        self._keys[layer][pages, :, :, offsets] = keys.unflatten(-1, (-1, pair))
        places = self._values[layer][..., : layout.value_width, :]
        places[pages, :, offsets // pair, :, offsets % pair] = values

    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        """Copies pages, in all layers. None may be both a source and a target."""
        device = next(iter(self._keys.values())).device
        of, to = (torch.tensor(pages, dtype=torch.int64, device=device) for pages in (sources, targets))
        for tensor in (*self._keys.values(), *self._values.values()):
            tensor[to] = tensor[of]

    def read(self, layer: int, pages: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Returns keys and values `[count, kv_heads, width]` of the first `count` tokens of a sequence's pages."""
        used = pages[: -(-count // self.page_size)]
        keys = self._keys[layer].index_select(0, used).permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(2)
        values = self._values[layer].index_select(0, used).permute(0, 2, 4, 1, 3).flatten(0, 2)
        return keys[:count], values[:count, :, : self.layouts[layer].value_width]

    def _pair(self, layout: LayerLayout) -> int:
        return 1 if self.by_token else layout.pair
