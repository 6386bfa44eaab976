"""Cosines and sines of positions, computed once by the model's own module."""

from collections.abc import Callable

import torch
from torch import Tensor

Angles = tuple[Tensor, Tensor]
_FIRST = 1024
"""Positions of a table at first."""


class AngleTable:
    """What a rotary module returns for each position, by position. Grows with the positions asked for."""

    def __init__(self, compute: Callable[[Tensor], Angles], dtype: torch.dtype) -> None:
        """`compute` returns cosines and sines `[1, T, rotated]` of positions `[T]`."""
        self._compute, self._dtype = compute, dtype
        self._cosines, self._sines = self._computed(0, _FIRST)
        self.rotated = self._cosines.shape[1]

    def up_to(self, count: int) -> tuple[int, int]:
        """Returns the addresses of cosines and sines `[positions, rotated]` of at least `count` positions."""
        have = len(self._cosines)
        if count > have:
            more = self._computed(have, max(count, 2 * have))
            self._cosines, self._sines = (
                torch.cat(pair) for pair in zip((self._cosines, self._sines), more, strict=True)
            )
        return self._cosines.data_ptr(), self._sines.data_ptr()

    @torch.inference_mode()
    def _computed(self, first: int, end: int) -> Angles:
        cosines, sines = self._compute(torch.arange(first, end))
        return cosines[0].to(self._dtype).contiguous(), sines[0].to(self._dtype).contiguous()
