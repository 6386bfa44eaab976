"""The tensors that hold keys and values, in pages that any sequence may own."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerLayout:
    """Shape of one attention layer: its heads, and the widths of the key and the value it stores per token."""

    heads: int
    kv_heads: int
    key_width: int
    value_width: int
    dtype: torch.dtype

    @property
    def bytes_per_token(self) -> int:
        """Bytes one token takes in this layer."""
        return self.kv_heads * (self.key_width + self.value_width) * self.dtype.itemsize


class KVCache:
    """Keys and values of `page_count` pages of `page_size` tokens, for each layer by its index.

    A slot is `page * page_size + offset`. A layer's keys are `[pages, kv_heads, width, page_size]`, so that a query is
    multiplied with all tokens of a page at once; its values are `[pages, kv_heads, page_size, width]`.
    """

    def __init__(self, layouts: dict[int, LayerLayout], page_count: int, page_size: int, device: torch.device) -> None:
        self.layouts = layouts
        self.page_size = page_size
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        for layer, layout in layouts.items():
            shape = (page_count, layout.kv_heads)
            kind = {"dtype": layout.dtype, "device": device}
            self._keys[layer] = torch.zeros(*shape, layout.key_width, page_size, **kind)
            self._values[layer] = torch.zeros(*shape, page_size, layout.value_width, **kind)

    def keys(self, layer: int) -> Tensor:
        """Returns all keys of a layer, `[pages, kv_heads, width, page_size]`."""
        return self._keys[layer]

    def values(self, layer: int) -> Tensor:
        """Returns all values of a layer, `[pages, kv_heads, page_size, width]`."""
        return self._values[layer]

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Stores `[T, kv_heads, width]` keys and values at the `T` slots. Writing the same slot again is harmless."""
        pages, offsets = slots // self.page_size, slots % self.page_size
        self._keys[layer][pages, :, :, offsets] = keys
        self._values[layer][pages, :, offsets] = values

    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        """Copies pages, in all layers. None may be both a source and a target."""
        device = next(iter(self._keys.values())).device
        of, to = (torch.tensor(pages, dtype=torch.int64, device=device) for pages in (sources, targets))
        for tensor in (*self._keys.values(), *self._values.values()):
            tensor[to] = tensor[of]

    def read(self, layer: int, pages: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Returns keys and values `[count, kv_heads, width]` of the first `count` tokens of a sequence's pages."""
        used = pages[: -(-count // self.page_size)]
        keys = self._keys[layer].index_select(0, used).permute(0, 3, 1, 2).flatten(0, 1)
        values = self._values[layer].index_select(0, used).transpose(1, 2).flatten(0, 1)
        return keys[:count], values[:count]
