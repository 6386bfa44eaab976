"""Whole encoder layers in one call of the native library, without computing padding."""

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
"""Arguments that do not change the result of such a layer."""


class NormStruct(ctypes.Structure):
    """The struct `Norm` of native.c."""

    _fields_ = (("scales", ctypes.c_void_p), ("shifts", ctypes.c_void_p), ("epsilon", ctypes.c_float))


class EncoderStruct(ctypes.Structure):
    """The struct `Encoder` of native.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "output", "up", "down")),
        ("first", NormStruct),
        ("second", NormStruct),
        ("scaling", ctypes.c_float),
        *((name, ctypes.c_int64) for name in ("hidden", "heads", "width", "norm_first")),
    )


class Lengths(NamedTuple):
    """The number of tokens of each text of a batch, int64 `[texts]`, and whether all are equal (`even`)."""

    each: Tensor
    even: bool


class EncoderWorkspace:
    """A buffer for intermediate results that all layers share, and the text lengths of the last attention mask."""

    def __init__(self) -> None:
        self._room = torch.empty(0, dtype=torch.uint8)
        self._mask: Tensor | None = None
        self._lengths: Lengths | None = None

    def address(self, count: int) -> int:
        """Returns the address of a buffer of at least `count` bytes. It is valid until the next call."""
        if len(self._room) < count:
            self._room = torch.empty(count, dtype=torch.uint8)
        return self._room.data_ptr()

    def lengths(self, mask: Any, texts: int, tokens: int) -> Lengths | None:
        """Returns the text lengths that a mask expresses, or None if it masks anything besides padding at the end."""
        if mask is None:
            return Lengths(torch.full((texts,), tokens), True)
        if not isinstance(mask, Tensor):
            return None
        if mask is not self._mask:  # all layers of a forward are given the same mask
            self._mask, self._lengths = mask, lengths_of(mask, texts, tokens)
        return self._lengths


def lengths_of(mask: Tensor, texts: int, tokens: int) -> Lengths | None:
    """See EncoderWorkspace.lengths. A mask is `[texts, 1, 1 or tokens, tokens]`: true, or 0 in a float mask, is
    visible.
    """
    if mask.dim() != 4 or mask.shape[0] != texts or mask.shape[-1] != tokens:
        return None
    seen = mask if mask.dtype is torch.bool else mask == 0
    lengths = seen[:, 0, 0].sum(-1)
    prefix = torch.arange(tokens) < lengths[:, None]
    shortest = int(lengths.min())
    plain = shortest > 0 and bool((seen == prefix[:, None, None]).all())
    return Lengths(lengths, shortest == tokens) if plain else None


Chosen = Callable[[Tensor], Tensor]
"""Returns the index of one token of each text from the lengths of the texts, both int64 `[texts]`."""


class FusedEncoderLayer:
    """Replaces the `forward` of an encoder layer. Calls that it does not support go to the layer's own forward."""

    def __init__(
        self,
        library: Library,
        parts: EncoderParts,
        forward: Callable[..., Any],
        room: EncoderWorkspace,
        *,
        norm_first: bool,
        returns_tuple: bool,
    ) -> None:
        self._library, self._parts, self._own_forward, self._room = library, parts, forward, room
        self._returns_tuple = returns_tuple
        self.used = False
        """Whether the native library has ever computed a call."""
        self.chosen: Chosen | None = None
        """Selects the only token of each text that is computed, if nothing behind the layer reads others. None: compute
        all.
        """
        self.filler = 0.0
        """Value of states that are not computed: those of padding, and of tokens not chosen."""
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
        """Returns `[texts, tokens, hidden]`. The attention mask is a keyword argument, or the next positional one."""
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
    """Returns whether a call needs the layer's own forward, for instance for a cache or for attention weights."""
    others = [*more, *(value for name, value in named.items() if name not in _WITHOUT_EFFECT)]
    return any(value is not None and value is not False for value in others)


def fuse_encoder_layers(model: nn.Module, library: Library, run: Callable[[], object]) -> list[nn.Module]:
    """Replaces the `forward` of encoder layers where the native library gives the same result, and returns those
    layers.

    `run` runs the model once, on which results are compared. `del layer.forward` undoes the replacement.
    """
    known = {name: layer for name, layer in model.named_modules() if encoder_parts(layer) is not None}
    # A wrapper around a single layer has the same parts as the layer: only the innermost is replaced.
    layers = [layer for name, layer in known.items() if not any(other.startswith(f"{name}.") for other in known)]
    if not layers:
        return []
    room = EncoderWorkspace()
    return [layer for layer, seen in observe(layers, run).items() if _fuse(layer, seen, library, room)]


def _fuse(layer: nn.Module, seen: Observation, library: Library, room: EncoderWorkspace) -> bool:
    """Returns whether the layer's forward was replaced."""
    parts = encoder_parts(layer)
    assert parts is not None
    own, returns_tuple = layer.forward, isinstance(seen.output, tuple)
    for norm_first in (False, True):
        fused = FusedEncoderLayer(library, parts, own, room, norm_first=norm_first, returns_tuple=returns_tuple)
        layer.forward = fused
        with suppress(*MODEL_ERRORS):  # some layers take other arguments, such as Reformer's
            if seen.matches(layer, residual=norm_first) and fused.used:
                return True
        del layer.forward
    return False
