"""Weights that still lie in their files once a model is read, as safetensors are mapped on a CPU."""

import logging

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

log = logging.getLogger(__name__)


@torch.no_grad()
def copy_from_files(model: nn.Module) -> None:
    """Gives a model memory of its own for weights that lie in files.

    Who writes another version over such a file would change what is served, and who cuts it off ends the process.
    """
    copied = 0
    for weight in (*model.parameters(), *model.buffers()):
        if _in_file(weight):
            weight.data = weight.detach().clone()
            copied += weight.nbytes
    if copied:
        log.info("copied %.1f MiB of weights from their files into memory", copied / 2**20)


def _in_file(weight: Tensor) -> bool:
    """Returns whether torch got the memory from elsewhere: what it takes itself can be resized."""
    if weight.device.type != "cpu" or isinstance(weight, DTensor):
        return False
    return weight.numel() > 0 and not weight.untyped_storage().resizable()
