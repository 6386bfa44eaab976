"""The tensors that hold keys and values, in pages that any sequence may own."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerLayout:
    """Shape of what one attention layer stores per token: heads and the widths of a key and of a value."""

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

    A slot is `page * page_size + offset`; layer tensors are `[slots, kv_heads, width]`.
    """

    def __init__(self, layouts: dict[int, LayerLayout], page_count: int, page_size: int, device: torch.device) -> None:
        self.page_size = page_size
        slots = page_count * page_size
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        for layer, layout in layouts.items():
            shape = (slots, layout.kv_heads)
            self._keys[layer] = torch.zeros(*shape, layout.key_width, dtype=layout.dtype, device=device)
            self._values[layer] = torch.zeros(*shape, layout.value_width, dtype=layout.dtype, device=device)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Stores `[T, kv_heads, width]` keys and values at the `T` slots. Writing the same slot again is harmless."""
        self._keys[layer].index_copy_(0, slots, keys)
        self._values[layer].index_copy_(0, slots, values)

    def read(self, layer: int, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values `[len(slots), kv_heads, width]` at the slots."""
        return self._keys[layer].index_select(0, slots), self._values[layer].index_select(0, slots)
