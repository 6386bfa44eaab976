"""Whole decoder layers: five kernels for one row; for more rows, a few kernels around torch's own products."""

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
"""Before and behind attention, then before and behind the feed-forward layer."""


class GpuDecoderLayer(nn.Module):
    """Computes `h = x + attention(norm(x))`, `y = h + mlp(norm(h))`; some families also have a norm behind each of
    both.
    """

    unsummed_tiles: frozenset[int] = frozenset()
    """Tile sizes (rows) with which split-K products leave their parts to the norm behind them, which adds them up."""

    def __init__(self, attention: GpuAttention, mlp: GpuMlp, norms: Norms) -> None:
        super().__init__()
        self._attention, self._mlp = attention, mlp
        self._input, self._attended, self._middle, self._fed = norms
        self._next: tuple[GpuNorm, ...] = ()  # in a tuple, so that it is not registered as a child

    def is_split(self, count: int) -> bool:
        """Returns whether, for `count` rows, both products before a residual are split-K products with no norm behind
        them.
        """
        plain = count > 1 and self._attended is None and self._fed is None
        return plain and self._attention.output.is_split(count) and self._mlp.down.is_split(count)

    def precede(self, layer: "GpuDecoderLayer") -> None:
        """Sets the layer that reads this layer's output."""
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
        """Returns `[1, T, hidden]` of `[1, T, hidden]`."""
        rows, attention, mlp = hidden_states[0].contiguous(), self._attention, self._mlp
        if size_for(len(rows)) in self.unsummed_tiles and self.is_split(len(rows)):
            return self._forward_unsummed(hidden_states, position_embeddings, attention_call)
        if len(rows) == 1 and not attention.projections.changed:
            packed = attention.projections.of_row(rows, norm=self._input)
        else:  # the residual is added to in place, so it has to be a copy of the caller's tensor
            normalized, rows = self._input.with_copy(rows)
            packed = attention.projections(normalized)
        attended = attention.attended(packed, position_embeddings, attention_call)
        rows = _summed(rows, attention.output, attended, self._attended)
        return _summed(rows, mlp.down, mlp.gated(rows, self._middle), self._fed).unsqueeze(0)

    def _forward_unsummed(self, hidden_states: Tensor, angles: Angles, call: AttentionCall) -> Tensor:
        """Does the same as `forward`, but lets the norms behind both products add up their split-K parts."""
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
        """Does nothing: the modules that it was built from still have their weights."""


def link_layers(layers: Iterable[nn.Module]) -> None:
    """Tells each fused layer which fused layer follows it."""
    for one, other in pairwise(layers):
        if isinstance(one, GpuDecoderLayer) and isinstance(other, GpuDecoderLayer):
            one.precede(other)


def _summed(residual: Tensor, linear: GpuLinear, inputs: Tensor, norm: GpuNorm | None) -> Tensor:
    """Returns the residual plus the product, which goes through `norm` first if there is one.

    With several rows and no norm, the residual is changed in place.
    """
    if norm is not None:
        return norm(linear(inputs), residual)
    alone = len(inputs) == 1
    # Tensor parallel ranks add the residual once, to the sum of all ranks. A single row's residual may be the caller's
    # tensor, which must not be changed in place.
    if linear.exchange is not None or (alone and linear.changed):
        return linear(inputs).add_(residual)
    return linear.of_row(inputs, residual=residual) if alone else linear.add_to(residual, inputs)


def gpu_decoder_layer(module: nn.Module, seen: Observation, backend: TritonAttention) -> GpuDecoderLayer | None:
    """Returns a fused layer for `module`, or None if it is not of a known kind."""
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
