"""Root-mean-square norms in one kernel."""

# Kernels are launched with other arguments than they are written with.
# pyright: reportCallIssue=false
import torch
from torch import Tensor, nn

from services.engine.fusion.norm import is_norm, scales_of
from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.rows import normalize_row

_WIDEST = 16_384


class GpuNorm(nn.Module):
    """Normalizes the last dimension by its root mean square and multiplies with `scales`, float32 `[width]`."""

    def __init__(self, scales: Tensor, epsilon: float) -> None:
        super().__init__()
        self.scales, self.epsilon = scales, epsilon

    def forward(self, inputs: Tensor, residual: Tensor | None = None) -> Tensor:
        """Returns a tensor of the shape and type of `inputs`, added to `residual` if there is one."""
        return self._run(inputs.contiguous(), residual, None)

    def with_copy(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the same and a copy of `inputs`, in one pass."""
        inputs = inputs.contiguous()
        copy = torch.empty_like(inputs)
        return self._run(inputs, None, copy), copy

    def _run(self, inputs: Tensor, residual: Tensor | None, copy: Tensor | None) -> Tensor:
        output = torch.empty_like(inputs)
        width = len(self.scales)
        block = power(width)
        normalize_row[(inputs.numel() // width,)](
            inputs, self.scales, inputs if residual is None else residual, output if copy is None else copy, output,
            self.epsilon, WIDTH=width, BLOCK=block, RESIDUAL=residual is not None, COPY=copy is not None,
            **following(inputs.device),
            num_warps=min(max(block // 512, 1), 8),
        )  # fmt: skip
        return output

    def give_back(self) -> None:
        """Does nothing: the norm it stands in for keeps its weight."""


def gpu_norm(module: nn.Module) -> GpuNorm | None:
    """Returns what computes the same as `module`, or None where that is not known."""
    found = scales_of(module) if is_norm(module) else None
    return GpuNorm(*found) if found and len(found[0]) <= _WIDEST else None
