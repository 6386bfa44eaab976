"""Whole decoder layers: five kernels for one row, and for more a few around torch's own products."""

from typing import Any

from torch import Tensor, nn

from services.engine.fusion.decoder import is_decoder_layer, norms_of
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton.attention import Angles, GpuAttention, gpu_attention
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp, gpu_mlp
from services.engine.fusion.triton.norm import GpuNorm, gpu_norm
from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.triton.backend import TritonAttention

Norms = tuple[GpuNorm, GpuNorm | None, GpuNorm, GpuNorm | None]
"""Before and behind attention, before and behind the feed-forward layer."""


class GpuDecoderLayer(nn.Module):
    """`h = x + attention(norm(x))`, `y = h + mlp(norm(h))`, with norms behind both in families that have them."""

    def __init__(self, attention: GpuAttention, mlp: GpuMlp, norms: Norms) -> None:
        super().__init__()
        self._attention, self._mlp = attention, mlp
        self._input, self._attended, self._middle, self._fed = norms

    def forward(
        self,
        hidden_states: Tensor,
        *_: Any,
        position_embeddings: Angles,
        attention_call: AttentionCall,
        **__: Any,
    ) -> Tensor:
        """Returns `[1, T, hidden]`."""
        rows, attention, mlp = hidden_states[0].contiguous(), self._attention, self._mlp
        if len(rows) == 1 and not attention.projections.changed:
            packed = attention.projections.of_row(rows, norm=self._input)
        else:  # the sum goes into a copy, since what was given is not this layer's
            normalized, rows = self._input.with_copy(rows)
            packed = attention.projections(normalized)
        attended = attention.attended(packed, position_embeddings, attention_call)
        rows = _summed(rows, attention.output, attended, self._attended)
        return _summed(rows, mlp.down, mlp.gated(rows, self._middle), self._fed).unsqueeze(0)

    def give_back(self) -> None:
        """Does nothing: the modules it was made of have their weights still."""


def _summed(residual: Tensor, linear: GpuLinear, inputs: Tensor, norm: GpuNorm | None) -> Tensor:
    """Returns the residual with the product added, which is normalized before if there is a norm.

    Where there is none and there are several rows, the residual is changed.
    """
    if norm is not None:
        return norm(linear(inputs), residual)
    alone = len(inputs) == 1
    # The residual is added to the sums of all ranks, once; that of a row alone may be what the layer was given.
    if linear.exchange is not None or (alone and linear.changed):
        return linear(inputs).add_(residual)
    return linear.of_row(inputs, residual=residual) if alone else linear.add_to(residual, inputs)


def gpu_decoder_layer(module: nn.Module, seen: Observation, backend: TritonAttention) -> GpuDecoderLayer | None:
    """Returns what may compute the same as `module`, or None where it is no layer known here."""
    if not is_decoder_layer(module):
        return None
    own = norms_of(module)
    before, attended, middle, fed = norms = tuple(norm and gpu_norm(norm) for norm in own)
    if before is None or middle is None or [norm is None for norm in norms] != [norm is None for norm in own]:
        return None
    attention = gpu_attention(module.get_submodule("self_attn"), seen, backend)
    mlp = gpu_mlp(module.get_submodule("mlp"))
    if attention is None or mlp is None:
        return None
    return GpuDecoderLayer(attention, mlp, (before, attended, middle, fed))
