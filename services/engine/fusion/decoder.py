"""Whole decoder layers, each computed by one call of the native library."""

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
"""Names of the norms: before and behind attention, before and behind the feed-forward layer."""


class DecoderStruct(ctypes.Structure):
    """The struct `Decoder` of native.c."""

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
    """A buffer for intermediate results. All layers of a model share it, since they run one after another."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._room = torch.empty(0, dtype=dtype)

    def address(self, count: int) -> int:
        """Returns the address of a buffer for at least `count` numbers. It is valid until the next call."""
        if len(self._room) < count:
            self._room = torch.empty(count, dtype=self._room.dtype)
        return self._room.data_ptr()


class FusedDecoderLayer(nn.Module):
    """Computes `h = x + attention(norm(x))`, `y = h + mlp(norm(h))`; some families also have a norm behind each of
    both.
    """

    def __init__(
        self,
        library: Library,
        attention: FusedAttention,
        mlp: FusedMlp,
        norms: tuple[FusedNorm | None, ...],
        workspace: Workspace,
    ) -> None:
        super().__init__()
        # nn.Module does not register modules in tuples as children.
        self._attention, self._mlp, self._norms = (attention,), (mlp,), norms
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
        """Size of the intermediate results of one token, in numbers of the layer's dtype."""
        self._low_ranks: LowRanks | None = None
        self.native, self.rotated = attention.layer, attention.rotation.rotated
        self.linears = (attention.projections, attention.output, mlp.gated, mlp.down)
        """The linear layers in the order in which they are used. In a tuple, so that they are not registered as
        children.
        """
        self.last = False
        """Whether this is the model's last layer, which computes the output only of the tokens that a call keeps."""

    def forward(
        self,
        hidden_states: Tensor,
        *_: Any,
        position_embeddings: tuple[Tensor, Tensor],
        attention_call: AttentionCall,
        **__: Any,
    ) -> Tensor:
        """Returns `[1, T, hidden]` of `[1, T, hidden]`."""
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
        """From now on adds the low-rank products of adapters, for the tokens that a step's `runs` assign to them."""
        self._low_ranks = low_ranks
        self._struct.low_ranks, self._struct.ranks = low_ranks.address, low_ranks.ranks
        self.room = self._library.decoder_workspace(self.address)

    def give_back(self) -> None:
        """Returns the weights to the layers that it was built from."""
        self._attention[0].give_back()
        self._mlp[0].give_back()


def is_decoder_layer(module: nn.Module) -> bool:
    """Returns whether this is a decoder layer of a known kind, by its children: attention, gated feed-forward layer,
    norms.
    """
    children = dict(module.named_children())
    names = children.keys() - {"self_attn", "mlp"}
    return (
        len(children) - len(names) == 2
        and names in ({name for name in _NORMS_BEFORE if name}, set(_NORMS_AROUND))
        and is_attention(children["self_attn"])
        and is_gated_mlp(children["mlp"])
    )


def norms_of(module: nn.Module) -> tuple[nn.Module | None, ...]:
    """Returns the norms before and behind attention, then before and behind the feed-forward layer; None where there is
    none.
    """
    children = dict(module.named_children())
    names = _NORMS_AROUND if _NORMS_AROUND[-1] in children else _NORMS_BEFORE
    return tuple(children[name] if name else None for name in names)


def fused_decoder_layer(
    module: nn.Module, seen: Observation, backend: CpuAttention, library: Library, arena: Arena, workspace: Workspace
) -> FusedDecoderLayer | None:
    """Returns a fused layer for `module`, or None if it is not of a known kind."""
    if not is_decoder_layer(module) or any(isinstance(part, PartialLinear) for part in module.modules()):
        return None  # tensor parallel ranks have to sum up their results in the middle of the layer
    children, own = dict(module.named_children()), norms_of(module)
    norms = tuple(None if norm is None else fused_norm(norm, library) for norm in own)
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
