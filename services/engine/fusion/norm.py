"""Root-mean-square norms in one pass."""

from typing import Any

import torch
from torch import Tensor, nn

from services.engine.native.library import KINDS, Library

_LINE = 16


class FusedNorm(nn.Module):
    """Divides by the root mean square of the last dimension and multiplies with `scales`, float32 `[width]`."""

    def __init__(self, library: Library, scales: Tensor, epsilon: float) -> None:
        super().__init__()
        self._library = library
        self.scales, self.epsilon = scales, epsilon
        self.address, self.width = scales.data_ptr(), len(scales)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns a tensor of the shape and dtype of `inputs`."""
        inputs = inputs.contiguous()
        output = torch.empty_like(inputs)
        width, count = self.width, inputs.numel() // self.width
        self._library.rms_norm[inputs.dtype](
            inputs.data_ptr(), width, self.address, self.epsilon, count, width, None, output.data_ptr(), width
        )
        return output

    def give_back(self) -> None:
        """Does nothing: the replaced norm still has its weight."""


def is_norm(module: nn.Module) -> bool:
    """Returns whether this is a root-mean-square norm, by its class name."""
    return "RMSNorm" in type(module).__name__


def fused_norm(module: nn.Module, library: Library) -> FusedNorm | None:
    """Returns a fused norm for `module`, or None if it is not of a known kind."""
    weight = getattr(module, "weight", None)
    if (
        not is_norm(module)
        or not isinstance(weight, Tensor)
        or weight.device.type != "cpu"
        or weight.dtype not in KINDS
    ):
        return None
    found = scales_of(module)
    return FusedNorm(library, *found) if found and len(found[0]) % _LINE == 0 else None


@torch.inference_mode()
def scales_of(norm: nn.Module) -> tuple[Tensor, float] | None:
    """Returns the scales of a norm, float32 `[width]`, and its epsilon; None if it is not of a known kind.

    Some families store the scales, others the scales minus 1. The norm of a row of ones shows which.
    """
    weight, epsilon = getattr(norm, "weight", None), _epsilon(norm)
    if epsilon is None or not isinstance(weight, Tensor) or weight.dim() != 1 or not weight.is_floating_point():
        return None
    stored = weight.detach().float()
    ones = torch.ones(1, 1, len(weight), dtype=weight.dtype, device=weight.device)
    for scales in (stored.clone(), 1 + stored):
        if torch.allclose(norm(ones).float().flatten(), scales, rtol=1e-2, atol=1e-3):
            return scales, epsilon
    return None


def _epsilon(module: nn.Module) -> float | None:
    """Returns the epsilon of a norm, by the names that families use for it."""
    found: Any = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return found if isinstance(found, float) else None
