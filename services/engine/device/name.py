"""Resolves the name of a device among those that the process may use."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from services.engine.checkpoint import ModelRefused

log = logging.getLogger(__name__)

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_NONE = {"", "-1", "none", "void", "nodevfiles"}


@dataclass(frozen=True)
class Gpus:
    """What torch sees of a machine's GPUs."""

    count: int
    built: bool
    """Whether torch was built for GPUs."""
    usable: bool
    """Whether the driver works."""

    @classmethod
    def here(cls) -> "Gpus":
        """Returns those of this process."""
        usable = torch.cuda.is_available()
        return cls(torch.cuda.device_count() if usable else 0, torch.version.cuda is not None, usable)


def resolve_device(name: str, gpus: Gpus | None = None, environment: Mapping[str, str] = os.environ) -> torch.device:
    """Returns the device called `name`, one of `auto`, `cpu`, `cuda` and `cuda:N`.

    `auto` is the first GPU, or the CPU where there is none. N counts what CUDA_VISIBLE_DEVICES leaves, in its order:
    indices, UUIDs of GPUs, or the UUID of one slice of a GPU (MIG).

    Raises:
        ModelRefused: There is no such device here. The message says why.
    """
    if name == "cpu":
        return torch.device("cpu")
    gpus, told = gpus or Gpus.here(), environment.get(_VISIBLE)
    listed = [] if told is None else [part.strip() for part in told.split(",")]
    slices = [part for part in listed if part.upper().startswith("MIG-")]
    if len(slices) > 1:
        log.warning("%s names %d slices of GPUs (MIG): a process sees the first alone", _VISIBLE, len(slices))
    if name == "auto":
        if not gpus.count and told is not None and told.strip().lower() not in _NONE:
            log.warning("%s=%s names GPUs, and none can be used: the CPU is taken", _VISIBLE, told)
        return torch.device("cuda:0" if gpus.count else "cpu")
    index = torch.device(name).index or 0
    if index >= gpus.count:
        raise ModelRefused(f"--device {name}: {_reason(gpus, told, bool(slices))}")
    return torch.device("cuda", index)


def _reason(gpus: Gpus, told: str | None, sliced: bool) -> str:
    if not gpus.built:
        return "torch was installed without support for GPUs. Install a build for CUDA, or use auto or cpu."
    if told is not None and told.strip().lower() in _NONE:
        return f"{_VISIBLE} is {told!r}, which hides all GPUs. Unset it, or use auto or cpu."
    if gpus.count:
        of = f" of {_VISIBLE}={told}" if told is not None else ""
        alone = " A process sees one slice of a GPU (MIG) alone, as cuda:0." if sliced else ""
        seen = "cuda:0 is" if gpus.count == 1 else f"cuda:0 to cuda:{gpus.count - 1} are"
        return f"{seen} all that is visible{of}; they are counted from 0, whatever their numbers.{alone}"
    if told is not None:
        return f"nothing of {_VISIBLE}={told} is there. `nvidia-smi -L` lists what is, UUIDs of slices (MIG) too."
    return "this machine shows no GPU that can be used. Is a driver installed, and does the container get one?"
