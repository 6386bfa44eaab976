"""KV cache of several streams: one ring buffer row for each, in which new tokens overwrite those beyond the window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import DeviceMemory
from services.engine.generation.building.memory_plan import StepCosts, require_room


@dataclass(frozen=True)
class CacheShape:
    """Dimensions of a decoder's keys and values."""

    layers: int
    heads: int
    width: int
    window: int | None
    """Sliding window of attention in tokens, the token itself included; None: all tokens."""

    @classmethod
    def of(cls, config: Any) -> "CacheShape":
        """Reads the shape from a decoder's configuration."""
        return cls(config.num_hidden_layers, config.num_key_value_heads, config.head_dim, config.sliding_window)

    def capacity(self, most: int, at_once: int) -> int:
        """Returns how many tokens a row must hold, for streams of `most` tokens, `at_once` of them in one forward."""
        return most if self.window is None else min(most, self.window + at_once - 1)

    def row_bytes(self, capacity: int, dtype: torch.dtype) -> int:
        """Returns the bytes of a row of `capacity` tokens."""
        return 2 * self.layers * self.heads * self.width * capacity * dtype.itemsize


@dataclass(frozen=True)
class Room:
    """The operator's limits on cache rows."""

    bytes: int
    rows: int
    """Most rows."""
    memory: DeviceMemory

    def rows_of(self, row_bytes: int) -> int:
        """Returns how many rows of that size fit.

        Raises:
            ModelRefused: not one row fits, or the device has less free memory.
        """
        rows = min(self.bytes // row_bytes, self.rows)
        if rows < 1:
            raise ModelRefused(
                f"The cache of one utterance takes {row_bytes} bytes, and all may take {self.bytes}: raise "
                "--cache-mib, or lower --window-seconds."
            )
        require_room(rows * row_bytes, self.memory.read(), StepCosts())
        return rows


class RowCache(Cache):
    """The cache object for a transformers model. Keys carry their rotary positions, so slots may be in any order."""

    def __init__(self, shape: CacheShape, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(layers=[])
        size = shape.layers, rows, shape.heads, capacity, shape.width
        self._keys = torch.zeros(size, dtype=dtype, device=device)
        self._values = torch.zeros(size, dtype=dtype, device=device)
        self._places = torch.full((rows, capacity), -1, device=device)
        self._window = shape.window
        self._capacity = capacity
        self._dtype = dtype
        self._rows: Any = slice(0)
        self._index = self._slots = torch.empty(0)
        self._used = 0

    def clear(self, row: int) -> None:
        """Empties a row. Overwrites it with zeros, because NaN in masked slots would still reach the output."""
        self._keys[:, row] = 0
        self._values[:, row] = 0
        self._places[row] = -1

    def begin(self, rows: Sequence[int], starts: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
        """Prepares a forward over `count` tokens of each row, from the positions `starts` on.

        Returns position ids `[rows, count]` and an additive attention mask `[rows, 1, count, slots used]`.
        """
        device = self._places.device
        places = torch.tensor(starts, device=device)[:, None] + torch.arange(count, device=device)
        self._index = torch.tensor(rows, device=device)[:, None]
        self._slots = places % self._capacity
        self._places[self._index, self._slots] = places
        self._used = min(self._capacity, max(starts) + count)
        adjoin = list(rows) == list(range(rows[0], rows[0] + len(rows)))
        # A slice of adjacent rows is a view; other rows are copied by indexing.
        self._rows = slice(rows[0], rows[0] + len(rows)) if adjoin else self._index[:, 0]
        held = self._places[self._rows, None, : self._used]
        seen = (held >= 0) & (held <= places[:, :, None])
        if self._window is not None:
            seen &= held > places[:, :, None] - self._window
        least = torch.finfo(self._dtype).min
        return places, torch.zeros(seen.shape, dtype=self._dtype, device=device).masked_fill(~seen, least)[:, None]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Stores a layer's new keys and values `[rows, heads, count, width]`; returns all that the rows hold."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[self._index, :, self._slots] = key_states.transpose(1, 2)
        values[self._index, :, self._slots] = value_states.transpose(1, 2)
        return keys[self._rows, :, : self._used], values[self._rows, :, : self._used]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns 0: positions are given with each forward."""
        del layer_idx
        return 0
