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
        self._ahead: tuple[Tensor, Tensor] | None = None

    def forward(self, inputs: Tensor, residual: Tensor | None = None) -> Tensor:
        """Returns a tensor of the shape and type of `inputs`, added to `residual` if there is one."""
        return self._run(inputs.contiguous(), residual, None)

    def with_copy(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the same and a copy of `inputs`, in one pass."""
        inputs = inputs.contiguous()
        copy = torch.empty_like(inputs)
        return self._run(inputs, None, copy), copy

    def of_sum(self, inputs: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `inputs` `[T, width]` with float32 `parts` `[parts, T, width]` added, and that normalized.

        The bits are those that a product of these parts would have added by itself.
        """
        total = torch.empty_like(inputs)
        return total, self._run(inputs.contiguous(), None, total, parts)

    def keep(self, inputs: Tensor, normalized: Tensor) -> None:
        """Remembers what it would return for a tensor that it is likely to be given next."""
        self._ahead = inputs, normalized

    def kept(self, inputs: Tensor) -> Tensor | None:
        """Returns what was remembered of this very tensor, which is forgotten then; None if it was not the last."""
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
        """Does nothing: the norm it stands in for keeps its weight."""


def _warps(block: int, summed: bool) -> int:
    """Returns how many warps take a row of so many numbers; more where each number is a sum of several, as there are
    as many more to load: with 16 instead of 4 a decode step of 32 rows took 1.5 % less on an H200.
    """
    return min(max(block // 128, 1), 16) if summed else min(max(block // 512, 1), 8)


def gpu_norm(module: nn.Module) -> GpuNorm | None:
    """Returns what computes the same as `module`, or None where that is not known."""
    found = scales_of(module) if is_norm(module) else None
    return GpuNorm(*found) if found and len(found[0]) <= _WIDEST else None
