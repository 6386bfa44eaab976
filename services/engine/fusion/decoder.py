"""Whole decoder layers in one call of the native library."""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.fusion.attention import FusedAttention, fused_attention, is_attention
from services.engine.fusion.low_ranks import LowRanks
from services.engine.fusion.mlp import FusedMlp, fused_mlp, is_gated_mlp
from services.engine.fusion.norm import FusedNorm, fused_norm
from services.engine.fusion.survey import Observation
from services.engine.generation.attention.backend import AttentionCall
from services.engine.generation.attention.cpu import CpuAttention, CpuPlan
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.parallel.partial_linear import PartialLinear

_NORMS_BEFORE = ("input_layernorm", None, "post_attention_layernorm", None)
_NORMS_AROUND = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
"""Names of the norms before and behind attention, and before and behind the feed-forward layer."""


class DecoderStruct(ctypes.Structure):
    """`Decoder` of native.c."""

    _fields_ = (
        ("input_norm", ctypes.c_void_p),
        ("attended_norm", ctypes.c_void_p),
        ("mlp_norm", ctypes.c_void_p),
        ("output_norm", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
        ("projections", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("gated", ctypes.c_void_p),
        ("down", ctypes.c_void_p),
        ("rotation", ctypes.c_void_p),
        ("attention", ctypes.c_void_p),
        ("hidden", ctypes.c_int64),
        ("low_ranks", ctypes.c_void_p),
        ("ranks", ctypes.c_int64),
    )


class Workspace:
    """Room for the intermediate results of one layer at a time, shared by those of a model."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._room = torch.empty(0, dtype=dtype)

    def address(self, count: int) -> int:
        """Returns where `count` numbers fit."""
        if len(self._room) < count:
            self._room = torch.empty(count, dtype=self._room.dtype)
        return self._room.data_ptr()


class FusedDecoderLayer(nn.Module):
    """`h = x + attention(norm(x))`, `y = h + mlp(norm(h))`, with norms behind both in families that have them."""

    def __init__(
        self,
        library: Library,
        attention: FusedAttention,
        mlp: FusedMlp,
        norms: tuple[FusedNorm | None, ...],
        workspace: Workspace,
    ) -> None:
        super().__init__()
        self._attention, self._mlp, self._norms = (attention,), (mlp,), norms  # in tuples: no modules of this one
        self._workspace, self._rotation = workspace, attention.rotation
        self._struct = DecoderStruct(
            *(norm.address if norm else None for norm in norms),
            next(norm.epsilon for norm in norms if norm),
            attention.projections.address,
            attention.output.address,
            mlp.gated.address,
            mlp.down.address,
            attention.rotation.address,
            attention.layer.address,
            mlp.down.out_features,
        )
        self.address = ctypes.addressof(self._struct)
        self._library, self._decode = library, library.decode[mlp.down.dtype]
        self.room = library.decoder_workspace(self.address)
        """Numbers of intermediate results for each token."""
        self._low_ranks: LowRanks | None = None
        self.native, self.rotated = attention.layer, attention.rotation.rotated
        self.linears = (attention.projections, attention.output, mlp.gated, mlp.down)
        """In the order in which they are multiplied; a tuple, so that they are no modules of this one."""
        self.last = False
        """Whether this is the model's last layer, of whose output only what a call keeps is computed."""

    def forward(
        self,
        hidden_states: Tensor,
        *_: Any,
        position_embeddings: tuple[Tensor, Tensor],
        attention_call: AttentionCall,
        **__: Any,
    ) -> Tensor:
        """Returns `[1, T, hidden]`."""
        hidden_states = hidden_states.contiguous()
        cosines, sines = self._rotation.angles(position_embeddings, hidden_states)
        plan: CpuPlan = attention_call.plan
        cache, output = plan.batch.cache, torch.empty_like(hidden_states)
        kept = attention_call.kept if self.last else None
        if kept is not None and len(kept) == hidden_states.shape[1]:
            kept = None
        self._decode(
            self.address,
            plan.step,
            None if kept is None else kept.data_ptr(),
            0 if kept is None else len(kept),
            hidden_states.data_ptr(),
            cosines.data_ptr(),
            sines.data_ptr(),
            cache.keys(self.native.index).data_ptr(),
            cache.values(self.native.index).data_ptr(),
            self._workspace.address(self.room * hidden_states.shape[1]),
            output.data_ptr(),
        )
        return output

    def adapt(self, low_ranks: LowRanks) -> None:
        """Adds what adapters compute to its products, for the tokens of a step's runs."""
        self._low_ranks = low_ranks
        self._struct.low_ranks, self._struct.ranks = low_ranks.address, low_ranks.ranks
        self.room = self._library.decoder_workspace(self.address)

    def give_back(self) -> None:
        """Returns their weights to the layers it was made of."""
        self._attention[0].give_back()
        self._mlp[0].give_back()


def is_decoder_layer(module: nn.Module) -> bool:
    """Returns whether this is attention and a gated feed-forward layer with norms as known here, by its children."""
    children = dict(module.named_children())
    names = children.keys() - {"self_attn", "mlp"}
    return (
        len(children) - len(names) == 2
        and names in ({name for name in _NORMS_BEFORE if name}, set(_NORMS_AROUND))
        and is_attention(children["self_attn"])
        and is_gated_mlp(children["mlp"])
    )


def norms_of(module: nn.Module) -> tuple[nn.Module | None, ...]:
    """Returns the norms of a decoder layer: before and behind attention, before and behind the feed-forward layer."""
    children = dict(module.named_children())
    names = _NORMS_AROUND if _NORMS_AROUND[-1] in children else _NORMS_BEFORE
    return tuple(children[name] if name else None for name in names)


def fused_decoder_layer(
    module: nn.Module, seen: Observation, backend: CpuAttention, library: Library, arena: Arena, workspace: Workspace
) -> FusedDecoderLayer | None:
    """Returns what may compute the same as `module`, or None where it is no layer known here."""
    if not is_decoder_layer(module) or any(isinstance(part, PartialLinear) for part in module.modules()):
        return None  # ranks that add up sums within a layer do so between two calls
    children, own = dict(module.named_children()), norms_of(module)
    norms = tuple(norm and fused_norm(norm, library) for norm in own)
    if any(norm and fused is None for norm, fused in zip(own, norms, strict=True)):
        return None
    if len({norm.epsilon for norm in norms if norm}) != 1:
        return None
    attention = fused_attention(children["self_attn"], seen, backend, library, arena)
    if attention is None:
        return None
    mlp = fused_mlp(children["mlp"], library, arena)
    if mlp is None:
        attention.give_back()
        return None
    return FusedDecoderLayer(library, attention, mlp, norms, workspace)
