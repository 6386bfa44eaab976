"""Attention layers: one product for queries, keys and values, then norm and rotation in one pass, then the KV cache."""

import ctypes
from typing import Any

from torch import Tensor, nn

from services.engine.fusion.mlp import linear_children, ordinary
from services.engine.fusion.norm import scales_of
from services.engine.fusion.survey import Observation
from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.cpu import CpuAttention, NativeLayer
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.native.linear import NativeLinear, takes

HeadNorms = tuple[Tensor, Tensor, float]
"""Scales of the norms of query and key heads, float32 `[key_width]`, and their epsilon."""


class RotationStruct(ctypes.Structure):
    """The struct `Rotation` of native.c."""

    _fields_ = (
        ("rotated", ctypes.c_int64),
        ("query_norm", ctypes.c_void_p),
        ("key_norm", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
    )


class Rotation:
    """The norms of query and key heads, if any, and how many numbers of a head are rotated."""

    def __init__(self, rotated: int, norms: HeadNorms | tuple[()]) -> None:
        self.rotated = rotated
        self._norms = norms
        query, key, epsilon = (norms[0].data_ptr(), norms[1].data_ptr(), norms[2]) if norms else (None, None, 0.0)
        self._struct = RotationStruct(rotated, query, key, epsilon)
        self.address = ctypes.addressof(self._struct)

    def angles(self, position_embeddings: tuple[Tensor, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        """Returns contiguous cosines and sines `[1, T, rotated]` in the dtype of `like`.

        Raises:
            ValueError: their width is not `rotated`.
        """
        cosines, sines = position_embeddings
        if cosines.shape[-1] != self.rotated or cosines.shape != sines.shape:
            raise ValueError(f"the rotary angles are {cosines.shape[-1]} wide, not {self.rotated}")
        if cosines.dtype != like.dtype:
            cosines, sines = cosines.to(like.dtype), sines.to(like.dtype)
        return cosines.contiguous(), sines.contiguous()


class FusedAttention(nn.Module):
    """Projects, norms heads if the model does, applies rotary embeddings, attends, and projects back.

    The two numbers of a rotated pair are half the rotated width apart.
    """

    def __init__(
        self, library: Library, layer: NativeLayer, projections: NativeLinear, output: NativeLinear, rotation: Rotation
    ) -> None:
        super().__init__()
        self.layer, self.projections, self.output, self.rotation = layer, projections, output, rotation
        self._rotate = library.rotate[projections.dtype]

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        *_: Any,
        attention_call: AttentionCall,
        **__: Any,
    ) -> tuple[Tensor, None]:
        """Returns `[1, T, hidden]` and None, as attention modules of transformers do."""
        packed = self.projections(hidden_states)[0]
        cosines, sines = self.rotation.angles(position_embeddings, packed)
        at, stride = packed.data_ptr(), packed.stride(0)
        self._rotate(
            self.rotation.address, self.layer.address, len(packed), at, stride, cosines.data_ptr(), sines.data_ptr()
        )
        backend: CpuAttention = attention_call.backend  # type: ignore[assignment]
        attended = backend.attend_packed(self.layer, packed, attention_call.plan)
        return self.output(attended.view(1, len(packed), -1)), None

    def give_back(self) -> None:
        """Returns the weights to the layers that it was built from."""
        self.projections.give_back()
        self.output.give_back()


def is_attention(module: nn.Module) -> bool:
    """Returns whether this is an attention layer with separate q, k, v and o projections.

    Layers that clip the projections (OLMo) are excluded: a comparison on few tokens may not reach the limit.
    """
    cut_off = getattr(getattr(module, "config", None), "clip_qkv", None)
    return set(linear_children(module)) == {"q_proj", "k_proj", "v_proj", "o_proj"} and cut_off is None


def fused_attention(
    module: nn.Module, seen: Observation, backend: CpuAttention, library: Library, arena: Arena
) -> FusedAttention | None:
    """Returns a fused layer for `module`, or None if it is not of a known kind.

    `seen` is a call of the module, or of the decoder layer around it.
    """
    index: Any = getattr(module, "layer_idx", None)
    angles, layer = seen.named.get("position_embeddings"), backend.layer(index)
    if not is_attention(module) or not isinstance(angles, tuple) or layer is None:
        return None
    linears, layout = linear_children(module), layer.layout
    widths = [layout.heads * layout.key_width, layout.kv_heads * layout.key_width, layout.kv_heads * layout.value_width]
    known = ordinary(linears[name] for name in ("q_proj", "k_proj", "v_proj", "o_proj"))
    inward = known[:3]
    rotated = int(angles[0].shape[-1])
    if [linear.out_features for linear in inward] != widths or rotated > layout.key_width or rotated % 2:
        return None
    norms = head_norms(module, layout.key_width)
    if norms is None or len(known) < len(linears) or not all(takes(library, linear) for linear in known):
        return None
    projections, output = NativeLinear(library, inward, arena), NativeLinear(library, known[3:], arena)
    return FusedAttention(library, layer, projections, output, Rotation(rotated, norms))


def head_norms(module: nn.Module, width: int) -> HeadNorms | tuple[()] | None:
    """Returns the norms of query and key heads; an empty tuple if there are none, None if there is an unknown child."""
    names = {name for name, _ in module.named_children()} - linear_children(module).keys()
    if not names:
        return ()
    if names != {"q_norm", "k_norm"}:
        return None
    query, key = scales_of(module.get_submodule("q_norm")), scales_of(module.get_submodule("k_norm"))
    if query is None or key is None or query[1] != key[1] or not len(query[0]) == len(key[0]) == width:
        return None
    return query[0], key[0], query[1]
