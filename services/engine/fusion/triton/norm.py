"""Root-mean-square norms in one kernel, with a sum before or behind them."""

import torch
from torch import Tensor, nn

from services.engine.fusion.norm import is_norm, scales_of
from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.rows import normalize_row

_WIDEST = 16_384


class GpuNorm(nn.Module):
    """Divides by the root mean square of the last dimension and multiplies with `scales`, float32 `[width]`."""

    def __init__(self, scales: Tensor, epsilon: float) -> None:
        super().__init__()
        self.scales, self.epsilon = scales, epsilon
        self._ahead: tuple[Tensor, Tensor] | None = None

    def forward(self, inputs: Tensor, residual: Tensor | None = None) -> Tensor:
        """Returns a tensor of the shape and dtype of `inputs`, added to `residual` if there is one."""
        return self._run(inputs.contiguous(), residual, None)

    def with_copy(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the normed `inputs` and a copy of `inputs`, in one pass."""
        inputs = inputs.contiguous()
        copy = torch.empty_like(inputs)
        return self._run(inputs, None, copy), copy

    def of_sum(self, inputs: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `inputs` `[T, width]` plus all float32 `parts` `[parts, T, width]`, and the norm of that sum.

        The sum is bit for bit the one that the split-K product of these parts would have computed itself.
        """
        total = torch.empty_like(inputs)
        return total, self._run(inputs.contiguous(), None, total, parts)

    def keep(self, inputs: Tensor, normalized: Tensor) -> None:
        """Stores the norm of `inputs`, a tensor that this module is likely to be called with next."""
        self._ahead = inputs, normalized

    def kept(self, inputs: Tensor) -> Tensor | None:
        """Returns the stored norm if it is of this very tensor, else None. Either way it is forgotten."""
        ahead, self._ahead = self._ahead, None
        return ahead[1] if ahead is not None and ahead[0] is inputs else None

    def _run(self, inputs: Tensor, residual: Tensor | None, copy: Tensor | None, parts: Tensor | None = None) -> Tensor:
        output = torch.empty_like(inputs)
        width = len(self.scales)
        block = power(width)
        normalize_row[(inputs.numel() // width,)](
            inputs, inputs if parts is None else parts, self.scales, inputs if residual is None else residual,
            output if copy is None else copy, output, self.epsilon, WIDTH=width, BLOCK=block,
            RESIDUAL=residual is not None, COPY=copy is not None, PARTS=0 if parts is None else len(parts),
            **following(inputs.device), num_warps=_warps(block, parts is not None),
        )  # fmt: skip
        return output

    def give_back(self) -> None:
        """Does nothing: the replaced norm still has its weight."""


def _warps(block: int, summed: bool) -> int:
    """Returns the number of warps for a row of `block` numbers.

    A sum of parts gets more, as there is more to load: 16 instead of 4 made a decode step of 32 rows 1.5 % faster on an
    H200.
    """
    return min(max(block // 128, 1), 16) if summed else min(max(block // 512, 1), 8)


def gpu_norm(module: nn.Module) -> GpuNorm | None:
    """Returns a fused norm for `module`, or None if it is not of a known kind."""
    found = scales_of(module) if is_norm(module) else None
    return GpuNorm(*found) if found and len(found[0]) <= _WIDEST else None
