"""Whole encoder layers in one call of the native library: attention without padding, and what is around it."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.fusion.mlp import activation_of
from services.engine.fusion.survey import Observation, observe
from services.engine.native.library import UNIT, Library
from services.engine.native.linear import Gate, NativeLinear

_LINE = 16
_QUERIES = {"query", "q_proj", "q_lin"}
_KEYS = {"key", "k_proj", "k_lin"}
_VALUES = {"value", "v_proj", "v_lin"}
_WITHOUT_EFFECT = {"position_ids", "use_cache"}
"""Arguments that change nothing in a layer of this kind."""


class NormStruct(ctypes.Structure):
    """`Norm` of native.c."""

    _fields_ = (("scales", ctypes.c_void_p), ("shifts", ctypes.c_void_p), ("epsilon", ctypes.c_float))


class EncoderStruct(ctypes.Structure):
    """`Encoder` of native.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "output", "up", "down")),
        ("first", NormStruct),
        ("second", NormStruct),
        ("scaling", ctypes.c_float),
        *((name, ctypes.c_int64) for name in ("hidden", "heads", "width", "norm_first")),
    )


class Bytes:
    """Room for the intermediate results of one layer at a time, and how long the texts of the last mask were."""

    def __init__(self) -> None:
        self._room = torch.empty(0, dtype=torch.uint8)
        self._mask: Tensor | None = None
        self._lengths: Tensor | None = None

    def address(self, count: int) -> int:
        """Returns where `count` bytes fit."""
        if len(self._room) < count:
            self._room = torch.empty(count, dtype=torch.uint8)
        return self._room.data_ptr()

    def lengths(self, mask: Any, texts: int, tokens: int) -> Tensor | None:
        """Returns the int64 `[texts]` that a mask says, or None if it says more than how long they are."""
        if mask is None:
            return torch.full((texts,), tokens)
        if not isinstance(mask, Tensor):
            return None
        if mask is not self._mask:  # else it is that of the layer before
            self._mask, self._lengths = mask, lengths_of(mask, texts, tokens)
        return self._lengths


def lengths_of(mask: Tensor, texts: int, tokens: int) -> Tensor | None:
    """See Bytes.lengths. Masks are `[texts, 1, 1 or tokens, tokens]`: true, or 0, where something is looked at."""
    if mask.dim() != 4 or mask.shape[0] != texts or mask.shape[-1] != tokens:
        return None
    seen = mask if mask.dtype is torch.bool else mask == 0
    lengths = seen[:, 0, 0].sum(-1)
    prefix = torch.arange(tokens) < lengths[:, None]
    return lengths if bool((seen == prefix[:, None, None]).all()) and int(lengths.min()) > 0 else None


class FusedEncoderLayer:
    """Takes the place of a layer's `forward`. What it does not know, the layer does by itself."""

    def __init__(
        self,
        library: Library,
        parts: "EncoderParts",
        forward: Callable[..., Any],
        room: Bytes,
        *,
        norm_first: bool,
        returns_tuple: bool,
    ) -> None:
        self._library, self._parts, self._own_forward, self._room = library, parts, forward, room
        self._returns_tuple = returns_tuple
        self.used = False
        """Whether the library has ever done it."""
        self._dtype = parts.up.dtype
        self._activated = parts.up.activated(parts.activation)
        linears = (parts.query, parts.key, parts.value, parts.output)
        self._struct = EncoderStruct(
            *(linear.address for linear in linears),
            ctypes.addressof(self._activated),
            parts.down.address,
            *(NormStruct(scales.data_ptr(), shifts.data_ptr(), epsilon) for scales, shifts, epsilon in parts.norms),
            parts.scaling,
            parts.output.out_features,
            parts.query.out_features // parts.width,
            parts.width,
            norm_first,
        )
        self._address = ctypes.addressof(self._struct)

    def __call__(self, hidden_states: Tensor, *more: Any, **named: Any) -> Any:
        """Returns `[texts, tokens, hidden]`. The attention mask is the next argument, if it has no name."""
        texts, tokens, _ = hidden_states.shape
        others = {name: value for name, value in named.items() if name != "attention_mask"}
        mask, *rest = more or (named.get("attention_mask"),)
        lengths = self._room.lengths(mask, texts, tokens)
        if lengths is None or hidden_states.dtype is not self._dtype or _asks_for_more(rest, others):
            return self._own_forward(hidden_states, *more, **named)
        self.used = True
        hidden_states, threads = hidden_states.contiguous(), self._library.threads
        output = torch.empty_like(hidden_states)
        size = self._library.encoder_workspace[self._dtype](self._address, texts * tokens, tokens, threads)
        self._library.encode[self._dtype](
            self._address,
            lengths.data_ptr(),
            texts,
            tokens,
            hidden_states.data_ptr(),
            self._room.address(size),
            output.data_ptr(),
            threads,
        )
        return (output,) if self._returns_tuple else output


def _asks_for_more(more: Sequence[Any], named: dict[str, Any]) -> bool:
    """Returns whether a call wants what only the layer's own forward does, such as a cache or attention weights."""
    others = [*more, *(value for name, value in named.items() if name not in _WITHOUT_EFFECT)]
    return any(value is not None and value is not False for value in others)


class EncoderParts:
    """What a layer consists of: six linear layers, two norms, an activation. Norms are float32 scales and shifts."""

    def __init__(
        self, linears: dict[str, NativeLinear], norms: list[nn.LayerNorm], activation: Gate, width: int
    ) -> None:
        self.query, self.key, self.value, self.output, self.up, self.down = linears.values()
        self.norms = [
            (norm.weight.detach().float().contiguous(), norm.bias.detach().float().contiguous(), norm.eps)
            for norm in norms
        ]
        self.activation = activation
        self.width = width
        self.scaling = width**-0.5


def encoder_parts(layer: nn.Module) -> EncoderParts | None:
    """Returns the parts of a layer whose linear layers are packed already, or None if it is not of this kind."""
    linears = {name: child for name, child in layer.named_modules() if isinstance(child, (nn.Linear, NativeLinear))}
    norms = [child for child in layer.modules() if type(child) is nn.LayerNorm]
    leaves = [child for child in layer.modules() if not list(child.children())]
    known = {nn.LayerNorm, nn.Linear, NativeLinear, nn.Dropout, nn.Identity}
    activations = [child for child in leaves if type(child) not in known and not list(child.parameters())]
    heads = {child.width for child in map(_Heads, layer.modules()) if child.width}
    if len(linears) != 6 or len(norms) != 2 or len(activations) != 1 or len(heads) != 1:
        return None
    (width,), (activation,) = heads, map(activation_of, activations)
    ordered = _in_order(linears)
    whole = all(isinstance(child, NativeLinear) for child in ordered.values()) if ordered else False
    if not whole or activation is None or not all(_is_plain(norm) for norm in norms):
        return None
    parts = EncoderParts(ordered, norms, activation, width)
    return parts if _fit(parts) else None


class _Heads:
    """How wide the heads of an attention module are, by the names that say so."""

    def __init__(self, module: nn.Module) -> None:
        found = getattr(module, "attention_head_size", getattr(module, "head_dim", None))
        self.width = found if isinstance(found, int) else None


def _in_order(linears: dict[str, Any]) -> dict[str, Any]:
    """Returns query, key, value, output, up and down, or nothing where it is not clear which is which."""
    last = {name.rpartition(".")[2]: name for name in linears}
    chosen = [next((last[known] for known in names if known in last), None) for names in (_QUERIES, _KEYS, _VALUES)]
    rest = [name for name in linears if name not in chosen]
    if None in chosen or len(rest) != 3:
        return {}
    return {name: linears[name] for name in [*chosen, *rest] if name is not None}


def _is_plain(norm: nn.LayerNorm) -> bool:
    weight: Any = norm.weight
    return weight is not None and norm.bias is not None and weight.dim() == 1 and len(weight) % _LINE == 0


def _fit(parts: EncoderParts) -> bool:
    hidden, attended = parts.output.out_features, parts.query.out_features
    return (
        parts.query.in_features == parts.key.in_features == parts.value.in_features == hidden
        and parts.key.out_features == parts.value.out_features == attended == parts.output.in_features
        and (parts.up.in_features, parts.up.out_features) == (hidden, parts.down.in_features)
        and parts.down.out_features == hidden
        and attended % parts.width == 0
        and parts.width * parts.up.dtype.itemsize % UNIT == 0
        and all(len(scales) == hidden for scales, _, _ in parts.norms)
    )


def fuse_encoder_layers(model: nn.Module, library: Library, run: Callable[[], object]) -> list[nn.Module]:
    """Lets the library do what layers of the model do, where it computes the same while `run` runs the model.

    Returns those layers. They stay where they are, with a `forward` of their own that can be deleted.
    """
    known = {name: layer for name, layer in model.named_modules() if encoder_parts(layer) is not None}
    # What holds a single layer and nothing else has the same parts.
    layers = [layer for name, layer in known.items() if not any(other.startswith(f"{name}.") for other in known)]
    room = Bytes()
    return [layer for layer, seen in observe(layers, run).items() if _fuse(layer, seen, library, room)]


def _fuse(layer: nn.Module, seen: Observation, library: Library, room: Bytes) -> bool:
    """Returns whether the library does now what `layer` did."""
    parts = encoder_parts(layer)
    assert parts is not None
    own, returns_tuple = layer.forward, isinstance(seen.output, tuple)
    for norm_first in (False, True):
        fused = FusedEncoderLayer(library, parts, own, room, norm_first=norm_first, returns_tuple=returns_tuple)
        layer.forward = fused
        if seen.matches(layer, residual=norm_first) and fused.used:
            return True
        del layer.forward
    return False
