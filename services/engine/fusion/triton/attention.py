"""Attention layers: one product for queries, keys and values; one kernel that norms, rotates and fills the KV cache."""

from typing import Any

from torch import Tensor, nn

from services.engine.fusion.attention import HeadNorms, head_norms, is_attention
from services.engine.fusion.mlp import linear_children
from services.engine.fusion.survey import Observation
from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.linear import GpuLinear, agree, takes
from services.engine.fusion.triton.narrow import gpu_linear
from services.engine.fusion.triton.rotation import rotate_and_store
from services.engine.generation.attention.backend import AttentionCall, AttentionLayer
from services.engine.generation.attention.triton.backend import OwnHeads, TritonAttention
from services.engine.generation.attention.triton.plan import TritonPlan

Angles = tuple[Tensor, Tensor]
"""Cosines and sines `[1, T, rotated]`."""


class GpuAttention(nn.Module):
    """Projects, norms heads if the model does, applies rotary embeddings, attends, and projects back.

    The two numbers of a rotated pair are half the rotated width apart.
    """

    def __init__(
        self,
        layer: AttentionLayer,
        projections: GpuLinear,
        output: GpuLinear,
        rotated: int,
        norms: HeadNorms | tuple[()],
    ) -> None:
        super().__init__()
        self.layer, self.projections, self.output = layer, projections, output
        self._rotated, self._norms = rotated, norms

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: Angles,
        *_: Any,
        attention_call: AttentionCall,
        **__: Any,
    ) -> tuple[Tensor, None]:
        """Returns `[1, T, hidden]` and None, as attention modules of transformers do."""
        packed = self.projections(hidden_states[0])
        return self.output(self.attended(packed, position_embeddings, attention_call)).unsqueeze(0), None

    def attended(self, packed: Tensor, angles: Angles, call: AttentionCall) -> Tensor:
        """Returns `[T, heads * value_width]` of `[T, queries | keys | values]`. The queries may be changed in place.

        Raises:
            ValueError: the angles are not `rotated` wide.
        """
        plan: TritonPlan = call.plan
        backend: TritonAttention = call.backend  # type: ignore[assignment]
        launch = backend.launch(self.layer.index, plan.cache)
        widths, count = {name: size for name, size in launch.widths.items() if name != "KEY_BLOCK"}, len(packed)
        cosines, sines = (angle.contiguous() for angle in angles)
        if cosines.shape != sines.shape or cosines.numel() != count * self._rotated:
            raise ValueError(f"the rotary angles {tuple(cosines.shape)} are not those of {count} x {self._rotated}")
        if plan.reading is None and plan.decoding is not None and not plan.stored_first:
            scales, epsilon = (self._norms[:2], self._norms[2]) if self._norms else (None, 0.0)
            own = OwnHeads(cosines, sines, self._rotated, scales, epsilon)
            return backend.attend_own(self.layer, packed, own, plan).view(count, -1)
        width = widths["KEY_WIDTH"]
        query_scales, key_scales, epsilon = self._norms or (packed, packed, 0.0)
        rest = width - self._rotated
        rotate_and_store[(count, launch.kv_heads)](
            packed, cosines, sines, plan.slots, plan.cache.keys(self.layer.index), plan.cache.values(self.layer.index),
            query_scales, key_scales, epsilon, packed.stride(0), *launch.strides, *launch.scales,
            HEADS=launch.heads, KV_HEADS=launch.kv_heads, ROWS=power(launch.heads // launch.kv_heads + 1),
            ROTATED=self._rotated, HALF_BLOCK=power(self._rotated // 2), REST_BLOCK=power(rest) if rest else 0,
            NORM=bool(self._norms), **widths, **following(packed.device), num_warps=1,
        )  # fmt: skip
        queries = packed[:, : launch.heads * width].unflatten(1, (launch.heads, width))
        nothing = packed.new_empty(0, launch.kv_heads, width)
        return backend.attend(self.layer, queries, nothing, nothing, plan).view(count, -1)

    def give_back(self) -> None:
        """Does nothing: the layers that it was built from still have their weights."""


def gpu_attention(module: nn.Module, seen: Observation, backend: TritonAttention) -> GpuAttention | None:
    """Returns a fused layer for `module`, or None if it is not of a known kind.

    `seen` is a call of the module, or of the decoder layer around it.
    """
    angles, known = seen.named.get("position_embeddings"), backend.layer(getattr(module, "layer_idx", None))
    if not is_attention(module) or not isinstance(angles, tuple) or known is None:
        return None
    layer, layout = known
    linears = linear_children(module)
    widths = [layout.heads * layout.key_width, layout.kv_heads * layout.key_width, layout.kv_heads * layout.value_width]
    inward = [linears["q_proj"], linears["k_proj"], linears["v_proj"]]
    rotated = int(angles[0].shape[-1])
    if [linear.out_features for linear in inward] != widths or rotated > layout.key_width or rotated % 2:
        return None
    norms = head_norms(module, layout.key_width)
    if norms is None or not (agree(inward) and takes(linears["o_proj"])):
        return None
    return GpuAttention(layer, gpu_linear(inward), gpu_linear([linears["o_proj"]]), rotated, norms)
