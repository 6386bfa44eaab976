"""Launch options that let the kernels of a decode step overlap."""

from functools import cache
from typing import Any

import torch

_OVERLAPPING = (9, 0)
"""The first compute capability with programmatic dependent launch: a kernel may begin before the previous one has
ended.
"""


overlapping = True
"""Whether kernels may overlap. A benchmark sets this to False to measure the effect."""


def following(device: torch.device) -> dict[str, Any]:
    """Returns launch options for a kernel that waits by itself (`gdc_wait`) for the results of the kernel before it.

    Such a kernel starts as soon as there is room, and loads its weights before it waits. Every program that writes
    anything waits before it writes, and before it reads anything else. So the next kernel may rely on all results
    before.

    Attention kernels also read the KV cache of earlier steps and the step's page numbers before they wait. This is safe
    since no step begins with such a kernel: kernels that look up tokens and embeddings start only when all before have
    ended.
    """
    return {"EARLY": True, "launch_pdl": True} if overlapping and _overlaps(device) else {"EARLY": False}


def is_early(device: torch.device) -> bool:
    """Returns whether tensor cores take all operands from registers: those before Hopper's do, and the interpreter."""
    return not _overlaps(device)


@cache
def _overlaps(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _OVERLAPPING


def power(count: int) -> int:
    """Returns the smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()
