"""Recognizes errors that mean lack of memory."""

import torch

_SAID = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Messages of the CPU allocator, the CUDA driver and its libraries, whose errors have no class of their own."""


def let_go(error: Exception) -> None:
    """Frees the tensors of a step that ran out of memory, which the stack frames of `error` keep alive."""
    error.__traceback__ = None
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # free memory may be fragmented


def lacks_memory(error: Exception) -> bool:
    """Returns whether `error` means that the device or the host is out of memory."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(said in str(error) for said in _SAID)
