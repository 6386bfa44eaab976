"""A table of the adapters' low-rank factors of one decoder layer, as the native library reads it."""

import ctypes
from array import array
from collections.abc import Sequence

from services.engine.native.linear import NativeLinear

PRODUCTS = 4
"""Number of products of a decoder layer; see native.c."""


class LowRankStruct(ctypes.Structure):
    """The struct `LowRank` of native.c."""

    _fields_ = (("first", ctypes.c_void_p), ("second", ctypes.c_void_p), ("begins", ctypes.c_void_p))


class LowRanks:
    """A table `[adapters][PRODUCTS]` of factors. It keeps their memory alive."""

    def __init__(self, adapter_count: int) -> None:
        self._table = (LowRankStruct * (adapter_count * PRODUCTS))()
        self._kept: list[NativeLinear] = []
        self._begins: list[array[int]] = []
        self.address = ctypes.addressof(self._table)
        self.ranks = 0
        """The greatest number of outputs of any first factor."""

    @property
    def byte_count(self) -> int:
        """Memory of the factors in bytes."""
        return sum(factor.byte_count for factor in self._kept)

    def put(self, adapter: int, product: int, first: NativeLinear, second: NativeLinear, begins: Sequence[int]) -> None:
        """Makes an adapter add `second(first(x))` to a product of x. The columns of `second` are laid out as the
        product's.

        Each line of 16 columns of `second` reads the outputs of `first` from the unit of 4 bytes at `begins[line]` on.
        """
        self._begins.append(array("q", begins))
        at = self._begins[-1].buffer_info()[0]
        self._table[adapter * PRODUCTS + product] = LowRankStruct(first.address, second.address, at)
        self._kept += first, second
        self.ranks = max(self.ranks, first.out_features)
