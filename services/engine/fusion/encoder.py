"""Whole encoder layers in one call of the native library: attention without padding, and what is around it."""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from services.engine.checkpoint import MODEL_ERRORS
from services.engine.fusion.encoder_parts import EncoderParts, encoder_parts
from services.engine.fusion.survey import Observation, observe
from services.engine.native.library import Library

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


class Lengths(NamedTuple):
    """How long the texts of a batch are: int64 `[texts]`, and whether none is shorter than another."""

    each: Tensor
    even: bool


class Bytes:
    """Room for the intermediate results of one layer at a time, and how long the texts of the last mask were."""

    def __init__(self) -> None:
        self._room = torch.empty(0, dtype=torch.uint8)
        self._mask: Tensor | None = None
        self._lengths: Lengths | None = None

    def address(self, count: int) -> int:
        """Returns where `count` bytes fit."""
        if len(self._room) < count:
            self._room = torch.empty(count, dtype=torch.uint8)
        return self._room.data_ptr()

    def lengths(self, mask: Any, texts: int, tokens: int) -> Lengths | None:
        """Returns what a mask says, or None if it says more than how long texts are."""
        if mask is None:
            return Lengths(torch.full((texts,), tokens), True)
        if not isinstance(mask, Tensor):
            return None
        if mask is not self._mask:  # else it is that of the layer before
            self._mask, self._lengths = mask, lengths_of(mask, texts, tokens)
        return self._lengths


def lengths_of(mask: Tensor, texts: int, tokens: int) -> Lengths | None:
    """See Bytes.lengths. Masks are `[texts, 1, 1 or tokens, tokens]`: true, or 0, where something is looked at."""
    if mask.dim() != 4 or mask.shape[0] != texts or mask.shape[-1] != tokens:
        return None
    seen = mask if mask.dtype is torch.bool else mask == 0
    lengths = seen[:, 0, 0].sum(-1)
    prefix = torch.arange(tokens) < lengths[:, None]
    shortest = int(lengths.min())
    plain = shortest > 0 and bool((seen == prefix[:, None, None]).all())
    return Lengths(lengths, shortest == tokens) if plain else None


Chosen = Callable[[Tensor], Tensor]
"""From the lengths of texts to the place of one token of each, both int64 `[texts]`."""


class FusedEncoderLayer:
    """Takes the place of a layer's `forward`. What it does not know, the layer does by itself."""

    def __init__(
        self,
        library: Library,
        parts: EncoderParts,
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
        self.chosen: Chosen | None = None
        """Which tokens alone are computed, where anything behind the layer reads no others; None: all."""
        self.filler = 0.0
        """What stands in the place of states that are not computed: those of padding, and of tokens not chosen."""
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
        places = None if self.chosen is None else self.chosen(lengths.each).contiguous()
        if lengths.even and places is None:
            output = torch.empty_like(hidden_states)
        else:
            output = torch.full_like(hidden_states, self.filler)
        size = self._library.encoder_workspace[self._dtype](self._address, texts, tokens, threads)
        self._library.encode[self._dtype](
            self._address,
            lengths.each.data_ptr(),
            None if places is None else places.data_ptr(),
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
        with suppress(*MODEL_ERRORS):  # of a layer that names its arguments otherwise, such as Reformer's
            if seen.matches(layer, residual=norm_first) and fused.used:
                return True
        del layer.forward
    return False
