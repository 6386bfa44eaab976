"""How a step's numbers go from pinned memory to a device and back."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from torch import Tensor


class Transfer(Protocol):
    """Prepares what is done over and over."""

    def __call__(self, source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
        """Returns what writes the first `count` int64 numbers of one to the other, without anyone waiting for it.

        The last of them may tell of so many `changes` to what is behind them in the target: first their places there,
        which are negative where nothing changes, and then the numbers.
        """
        ...


def copied(source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
    """Is a Transfer that copies, for what is on one device."""
    return partial(_copy, source[:count], target[:count], changes, target[count:])


def _copy(source: Tensor, target: Tensor, changes: int, behind: Tensor) -> None:
    target.copy_(source)
    if changes:
        places, numbers = source[-2 * changes :].view(2, changes)
        behind[places[places >= 0]] = numbers[places >= 0]
