"""How a step's numbers go from pinned memory to a device and back."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Transfer(Protocol):
    """Prepares what is done over and over."""

    def __call__(self, source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
        """Returns what writes the first `count` int64 numbers of one to the other, without anyone waiting for it.

        The last of them may tell of so many `changes` to what is behind them in the target: first their places there,
        which are negative where nothing changes, and then the numbers.
        """
        ...


def copied(source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
    """Is a Transfer that copies."""
    return partial(_copy, source[:count], target[:count], changes, target[count:])


def _copy(source: Tensor, target: Tensor, changes: int, behind: Tensor) -> None:
    target.copy_(source, non_blocking=True)
    if changes:
        places, numbers = target[-2 * changes :].view(2, changes)
        kept = places.clamp(min=0)
        # Differences are added, not numbers written: the first place may be told once and stand for none besides.
        behind.scatter_add_(0, kept, torch.where(places >= 0, numbers - behind[kept], 0))


def carries(transfer: Transfer, device: torch.device) -> bool:
    """Returns whether a trial shows that it writes numbers to the device and back as copies do, and logs why not."""
    try:
        if _arrives(transfer, device):
            return True
        cause = "other numbers arrived than were sent"
    except Exception as failure:  # of a driver or a compiler that does not let kernels read pinned memory
        cause = str(failure)
    log.warning("A step's numbers are copied to the GPU, some microseconds slower than by a kernel: %s", cause)
    return False


def _arrives(transfer: Transfer, device: torch.device) -> bool:
    sent, back = (torch.zeros(6, dtype=torch.int64, pin_memory=device.type == "cuda") for _ in range(2))
    there = torch.zeros(6, dtype=torch.int64, device=device)
    away, home = transfer(sent, there, 4, 1), transfer(there, back, 6)
    for number in (40, 41):  # twice, as what was read once could be what is read ever after
        sent.copy_(torch.tensor([number, 7, 1, number, 0, 0]))
        there.zero_()
        away()
        home()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if back.tolist() != [number, 7, 1, number, 0, number]:
            return False
    return True
