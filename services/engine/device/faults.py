"""Recognizes fatal device errors, after which every later call of this process to the device fails too."""

import torch

from services.engine.device.memory_errors import lacks_memory

_REASONS = {
    "illegal memory access": "illegal_access",
    "misaligned address": "illegal_access",
    "illegal instruction": "illegal_access",
    "invalid program counter": "illegal_access",
    "device-side assert": "assertion",
    "unspecified launch failure": "launch_failure",
    "uncorrectable": "memory_error",
    "hardware stack error": "hardware",
    "contained error": "memory_error",
    "gpu is lost": "lost",
    "fallen off the bus": "lost",
    "device is lost": "lost",
    "no longer available": "lost",
    "launch timed out": "timeout",
    "nvlink": "nvlink",
}
"""Reasons by parts of the driver's messages, in lower case."""
_OF_THE_DEVICE = ("cuda error", "error [cuda]", "cuda driver error", "cublas_status_", "cudnn_status_")
REASONS = (*dict.fromkeys(_REASONS.values()), "unknown", "rank_lost", "hung", "ended")
"""Why a model stopped working: an error of its device, a lost process of a parallel model, a step that never ends, or
the unexpected end of its thread.
"""


class DeviceFault(Exception):
    """The device has failed for this process. `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The device has failed: {reason}.")
        self.reason = reason


def require_device(error: BaseException) -> None:
    """Returns if `error` is not a device error, or if the device still works.

    Raises:
        DeviceFault: The device has failed.
    """
    if isinstance(error, DeviceFault):
        raise error
    said = str(error).lower()
    accelerator = isinstance(error, torch.AcceleratorError) or any(mark in said for mark in _OF_THE_DEVICE)
    if not accelerator or (isinstance(error, Exception) and lacks_memory(error)):
        return
    reason = next((reason for mark, reason in _REASONS.items() if mark in said), None)
    if reason is None and not _works():
        reason = "unknown"
    if reason is not None:
        raise DeviceFault(reason) from error


def _works() -> bool:
    """Tries a small sum on the device: after a fatal error every call fails, after other errors none."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
        return torch.ones(2, device="cuda").sum().item() == 2
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:
        return False
