"""A table of rotary cosines and sines by position, computed once by the model's own module."""

from collections.abc import Callable

import torch
from torch import Tensor

Angles = tuple[Tensor, Tensor]
_FIRST = 1024
"""Number of positions of a new table."""


class AngleTable:
    """Cosines and sines of every position, as the model's rotary module returns them. The table grows on demand."""

    def __init__(self, compute: Callable[[Tensor], Angles], dtype: torch.dtype) -> None:
        """`compute` returns cosines and sines `[1, T, rotated]` of positions `[T]`."""
        self._compute, self._dtype = compute, dtype
        self._cosines, self._sines = self._computed(0, _FIRST)
        self.rotated = self._cosines.shape[1]

    def up_to(self, count: int) -> tuple[int, int]:
        """Returns the addresses of cosines and sines `[positions, rotated]` for at least `count` positions.

        The addresses are valid until the next call.
        """
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
