"""What adapters add to the products of one decoder layer, as the native library reads it."""

import ctypes
from array import array
from collections.abc import Sequence

from services.engine.native.linear import NativeLinear

PRODUCTS = 4
"""Of a decoder layer; see native.c."""


class LowRankStruct(ctypes.Structure):
    """`LowRank` of native.c."""

    _fields_ = (("first", ctypes.c_void_p), ("second", ctypes.c_void_p), ("begins", ctypes.c_void_p))


class LowRanks:
    """A table of factors, `[adapters][PRODUCTS]`, which it keeps alive."""

    def __init__(self, adapter_count: int) -> None:
        self._table = (LowRankStruct * (adapter_count * PRODUCTS))()
        self._kept: list[NativeLinear] = []
        self._begins: list[array[int]] = []
        self.address = ctypes.addressof(self._table)
        self.ranks = 0
        """The most numbers to which one shrinks a row."""

    @property
    def byte_count(self) -> int:
        """What the factors take of memory."""
        return sum(factor.byte_count for factor in self._kept)

    def put(self, adapter: int, product: int, first: NativeLinear, second: NativeLinear, begins: Sequence[int]) -> None:
        """Has an adapter add `second(first(x))` to a product of x, whose columns lie as those of `second` do.

        Of what `first` returns the columns of each line read what begins at one of `begins`; see native.c.
        """
        self._begins.append(array("q", begins))
        at = self._begins[-1].buffer_info()[0]
        self._table[adapter * PRODUCTS + product] = LowRankStruct(first.address, second.address, at)
        self._kept += first, second
        self.ranks = max(self.ranks, first.out_features)
