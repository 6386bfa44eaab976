"""Whole decoder layers: five kernels for one row, and for more a few around torch's own products."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from services.engine.fusion.decoder import is_decoder_layer, norms_of
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton.attention import Angles, GpuAttention, gpu_attention
from services.engine.fusion.triton.few_rows import size_for
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp, gpu_mlp
from services.engine.fusion.triton.norm import GpuNorm, gpu_norm
from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.triton.backend import TritonAttention

Norms = tuple[GpuNorm, GpuNorm | None, GpuNorm, GpuNorm | None]
"""Before and behind attention, before and behind the feed-forward layer."""


class GpuDecoderLayer(nn.Module):
    """`h = x + attention(norm(x))`, `y = h + mlp(norm(h))`, with norms behind both in families that have them."""

    sums_left: frozenset[int] = frozenset()
    """Rows of the tiles with which products that are split are left to be added up by the kernels behind them."""

    def __init__(self, attention: GpuAttention, mlp: GpuMlp, norms: Norms) -> None:
        super().__init__()
        self._attention, self._mlp = attention, mlp
        self._input, self._attended, self._middle, self._fed = norms
        self._next: tuple[GpuNorm, ...] = ()  # no module of this one

    def is_split(self, count: int) -> bool:
        """Returns whether products of so many rows that are added to others are split, and nothing is between."""
        plain = count > 1 and self._attended is None and self._fed is None
        return plain and self._attention.output.is_split(count) and self._mlp.down.is_split(count)

    def precede(self, layer: "GpuDecoderLayer") -> None:
        """Tells it which layer is given what it returns."""
        if len(layer._input.scales) == len(self._middle.scales):
            self._next = (layer._input,)

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
        if size_for(len(rows)) in self.sums_left and self.is_split(len(rows)):
            return self._of_parts(hidden_states, position_embeddings, attention_call)
        if len(rows) == 1 and not attention.projections.changed:
            packed = attention.projections.of_row(rows, norm=self._input)
        else:  # the sum goes into a copy, since what was given is not this layer's
            normalized, rows = self._input.with_copy(rows)
            packed = attention.projections(normalized)
        attended = attention.attended(packed, position_embeddings, attention_call)
        rows = _summed(rows, attention.output, attended, self._attended)
        return _summed(rows, mlp.down, mlp.gated(rows, self._middle), self._fed).unsqueeze(0)

    def _of_parts(self, hidden_states: Tensor, angles: Angles, call: AttentionCall) -> Tensor:
        """Does the same, with products left to be added up by whoever reads them."""
        normalized, rows = self._input.kept(hidden_states), hidden_states[0].contiguous()
        normalized = self._input(rows) if normalized is None else normalized
        packed = self._attention.projections(normalized)
        attended = self._attention.attended(packed, angles, call)
        rows, normalized = self._middle.of_sum(rows, self._attention.output.unsummed(attended))
        gated = self._mlp.gated(normalized)
        if not self._next:
            return self._mlp.down.add_to(rows, gated).unsqueeze(0)
        rows, normalized = self._next[0].of_sum(rows, self._mlp.down.unsummed(gated))
        returned = rows.unsqueeze(0)
        self._next[0].keep(returned, normalized)
        return returned

    def give_back(self) -> None:
        """Does nothing: the modules it was made of have their weights still."""


def acquaint(layers: Iterable[nn.Module]) -> None:
    """Tells each of the layers that is by kernels which one is behind it."""
    for one, other in pairwise(layers):
        if isinstance(one, GpuDecoderLayer) and isinstance(other, GpuDecoderLayer):
            one.precede(other)


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
