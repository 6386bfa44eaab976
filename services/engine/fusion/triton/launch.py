"""How the kernels of a decode step follow one another."""

from functools import cache
from typing import Any

import torch

_OVERLAPPING = (9, 0)
"""The first compute capability whose kernels may begin before the kernel in front of them has ended."""


overlapping = True
"""Whether kernels may do so. A benchmark that sets this to False shows what it brings."""


def following(device: torch.device) -> dict[str, Any]:
    """Returns the options of a kernel that waits itself for the results of the kernel in front of it.

    Such a kernel begins as soon as there is room, and has its weights on the way before it waits. Whatever it writes
    and whatever else it reads comes after `gdc_wait`, in every program that writes anything, so that its own followers
    may rely on all that was before.

    Attention reads more before it waits: what earlier steps have stored, and the step's own numbers of pages. It may,
    because no step begins with such a kernel: tokens and their embeddings are found by kernels that begin only when all
    before them have ended.
    """
    return {"EARLY": True, "launch_pdl": True} if overlapping and _overlaps(device) else {"EARLY": False}


def is_early(device: torch.device) -> bool:
    """Returns whether tensor cores have all they multiply in registers: those before Hopper, and the interpreter."""
    return not _overlaps(device)


@cache
def _overlaps(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _OVERLAPPING


def power(count: int) -> int:
    """Returns the smallest power of two that is not below `count`."""
    return 1 << (count - 1).bit_length()
