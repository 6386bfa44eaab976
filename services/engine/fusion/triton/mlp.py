"""Gated feed-forward layers: gate and up projection as one product, activation and multiplication as one kernel."""

import torch
from torch import Tensor, nn

from services.engine.fusion.mlp import activation_of, gates_plainly, is_gated_mlp, linear_children
from services.engine.fusion.triton.few_rows import FewRows
from services.engine.fusion.triton.launch import following
from services.engine.fusion.triton.linear import GpuLinear, agree, takes
from services.engine.fusion.triton.narrow import gpu_linear
from services.engine.fusion.triton.norm import GpuNorm
from services.engine.fusion.triton.rows import gate_row
from services.engine.native.linear import Gate

_BLOCK = 1024


class GpuMlp(nn.Module):
    """Computes `down(act(gate(x)) * up(x))`."""

    few_rows: FewRows | None = None
    """Computes both products and the gate of a few rows in one kernel; None where that is not faster."""

    def __init__(self, pair: GpuLinear, down: GpuLinear, activation: Gate) -> None:
        super().__init__()
        self.pair, self.down, self.activation = pair, down, activation

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Returns `[..., hidden]`."""
        rows = hidden_states.reshape(-1, self.pair.in_features)
        found = self.down(self.gated(rows))
        return found.view(*hidden_states.shape[:-1], self.down.out_features)

    def gated(self, rows: Tensor, norm: GpuNorm | None = None) -> Tensor:
        """Returns `[T, units]` of `[T, hidden]`, whose rows go through `norm` first if there is one."""
        changed = self.pair.changed
        if len(rows) == 1 and not changed:
            return self.pair.of_row(rows, norm=norm, gate=self.activation)
        rows = rows if norm is None else norm(rows)
        few_rows = self.few_rows if self.few_rows is not None and self.few_rows.takes(len(rows)) else None
        if few_rows is not None and not changed:
            return few_rows(rows, gate=self.activation)
        # Where the kernel with the gate is used otherwise, stay in float32 until the gate: then rows without an adapter
        # get the same bits as in a step without adapters.
        pairs = self.pair.adapted(few_rows(rows, kind=torch.float32), rows) if few_rows else self.pair(rows)
        units = pairs.shape[1] // 2
        output = rows.new_empty(len(rows), units)
        gate_row[(len(rows), -(-units // _BLOCK))](
            pairs, output, UNITS=units, BLOCK=_BLOCK, ACTIVATION=int(self.activation), **following(rows.device),
            num_warps=4,
        )  # fmt: skip
        return output

    def give_back(self) -> None:
        """Does nothing: the layers that it was built from still have their weights."""


def gpu_mlp(module: nn.Module) -> GpuMlp | None:
    """Returns a fused layer for `module`, or None if it is not a gated feed-forward layer of a known kind."""
    if not is_gated_mlp(module):
        return None
    linears = linear_children(module)
    pair, down = [linears["gate_proj"], linears["up_proj"]], linears["down_proj"]
    activation = activation_of(getattr(module, "act_fn", None))
    if activation is None or pair[0].out_features != pair[1].out_features or not (agree(pair) and takes(down)):
        return None
    if not gates_plainly(module):
        return None
    return GpuMlp(gpu_linear(pair), gpu_linear([down]), activation)
