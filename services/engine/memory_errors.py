"""How lack of memory shows."""

import torch


def lacks_memory(error: Exception) -> bool:
    """Returns whether `error` says that memory could not be had, on the device or beside it."""
    # On the CPU, torch raises an error of no class of its own.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)
