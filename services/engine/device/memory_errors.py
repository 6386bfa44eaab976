"""Recognizes errors that mean lack of memory."""

import torch

_SAID = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""By the CPU's allocator, and by the driver and libraries that take memory beside torch's own; none has a class."""


def let_go(error: Exception) -> None:
    """Frees the tensors of a step that ran out of memory, which the stack frames of `error` keep alive."""
    error.__traceback__ = None
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # the pieces may be there, but not in one


def lacks_memory(error: Exception) -> bool:
    """Returns whether `error` means that there was no memory, on the device or the host."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(said in str(error) for said in _SAID)
