"""Encoder-decoders over the paged cache: the cache object their decoders are given, and their attention function.

A decoder asks its cache how many tokens it holds, hands it new keys and values, and attends to what it gets back. Here
the cache answers for a whole packed batch: with the place of each token, and with handles for what lies in pages. Keys
and values of what the encoder read are handed over once, in the forward that begins a sequence; later ones find them
marked as there. Both kinds of a layer have one shape, so they share the layer's pages.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Cache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer

from services.engine.generation.attention.backend import AttentionBackend, AttentionLayer
from services.engine.generation.cache.kv_cache import KVCache

IMPLEMENTATION = "sensorium_paged_encoder_decoder"
"""Value of `attn_implementation` under which encoder-decoders use the paged cache."""


class Places(Tensor):
    """How many tokens stand before each of a packed batch, but for its place in the batch, which the model adds.

    Models compare this with what they have room for: such a comparison is true where it is of any token. What is
    computed of it and of other tensors is an ordinary tensor.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Computes with plain tensors. See torch.Tensor."""
        alone = not any(isinstance(value, Tensor) and not isinstance(value, cls) for value in args)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        plain = isinstance(result, Tensor)
        return result.as_subclass(cls if alone else Tensor) if plain else result

    def __bool__(self) -> bool:
        return bool(self.as_subclass(Tensor).any())


class PagedSelfAttention(Cache):
    """Of the decoder's own tokens. Keeps what a layer has just handed over until it attends."""

    def __init__(self, positions: Tensor, longest: int) -> None:
        """Takes the positions `[T]` of packed tokens, and the context of the longest row, the new tokens included."""
        super().__init__(layers=[])
        self._before = (positions - torch.arange(len(positions), device=positions.device)).as_subclass(Places)
        self._longest = longest
        self.new: dict[int, tuple[Tensor, Tensor]] = {}

    def get_seq_length(self, layer_idx: int | None = None) -> Any:
        """Returns what is before each token: `[T]` to whoever asks for the model, a column to one of its layers."""
        return self._before if layer_idx is None else self._before.unsqueeze(1)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Takes new keys and values `[1, heads, T, width]`. Returns handles as long as the longest row."""
        self.new[layer_idx] = (key_states, value_states)
        handle = key_states.new_empty(1).expand(*key_states.shape[:2], self._longest, key_states.shape[3])
        return handle, handle


class PagedCrossAttention(Cache):
    """Of what the encoder read. Writes it into pages where a sequence begins; a handle stands for it from then on."""

    def __init__(self, cache: KVCache, device: torch.device) -> None:
        made: list[Any] = []
        for layout in (cache.layouts[index] for index in sorted(cache.layouts)):
            layer = DynamicLayer()
            layer.keys = layer.values = torch.empty(
                1, layout.kv_heads, 0, layout.key_width, dtype=layout.dtype, device=device
            )
            made.append(layer)
        super().__init__(layers=made)
        self._cache = cache
        self.slots: Tensor | None = None
        """Where the tokens go that were read for the sequences that begin."""

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Stores keys and values `[1, heads, tokens read, width]` and returns handles."""
        assert self.slots is not None
        self._cache.write(layer_idx, self.slots, key_states[0].transpose(0, 1), value_states[0].transpose(0, 1))
        return self.handle(layer_idx), self.handle(layer_idx)

    def handle(self, layer_idx: int) -> Tensor:
        """Returns what stands for a layer's keys and values."""
        layer: Any = self.layers[layer_idx]
        return layer.keys


class PagedCaches(EncoderDecoderCache):
    """What a decoder is given as its cache, for one forward."""

    def __init__(self, own: PagedSelfAttention, cross: PagedCrossAttention, *, begins: bool) -> None:
        """`begins` tells that keys and values of what was read are to be handed over."""
        super().__init__(own, cross)
        self.own = own
        self.cross = cross
        self.is_updated = dict.fromkeys(range(len(cross.layers)), not begins)

    def get_seq_length(self, layer_idx: int | None = None) -> Any:
        """See PagedSelfAttention."""
        return self.own.get_seq_length(layer_idx)


@dataclass(frozen=True)
class EncoderDecoderCall:
    """A backend with its two plans of the step. The attention function finds it where `calling` has put it: not every
    decoder hands its arguments on to its cross-attention.
    """

    backend: AttentionBackend
    caches: PagedCaches
    own_plan: Any
    cross_plan: Any

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor) -> Tensor:
        """Returns `[T, heads, width]` for queries `[T, heads, width]`; `key` is the handle the layer was given."""
        if key is self.caches.cross.handle(layer.index):
            nothing = key[0].transpose(0, 1)
            return self.backend.attend(layer, query, nothing, nothing, self.cross_plan)
        keys, values = (tensor[0].transpose(0, 1) for tensor in self.caches.own.new.pop(layer.index))
        return self.backend.attend(layer, query, keys, values, self.own_plan)


_CALL: ContextVar[EncoderDecoderCall] = ContextVar("call")


@contextmanager
def calling(call: EncoderDecoderCall) -> Generator[None]:
    """Has the attention function use `call`."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def attend_encoder_decoder(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    _value: Tensor,
    _attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Adapts transformers' attention interface of a decoder, `[1, heads, T, width]`, to a call."""
    layer = AttentionLayer(
        index=int(module.layer_idx),  # type: ignore[arg-type]
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window=sliding_window,
        softcap=softcap,
        bias=position_bias[0] if position_bias is not None and position_bias.shape[-1] else None,
    )
    return _CALL.get().attend(layer, query[0].transpose(0, 1), key).unsqueeze(0), None


def configs_of(module: nn.Module) -> list[Any]:
    """Returns the configurations of all parts of a module, each once."""
    return list({id(part.config): part.config for part in module.modules() if hasattr(part, "config")}.values())


@contextmanager
def attending_by(configs: list[Any], implementation: str) -> Generator[None]:
    """Makes the modules of some configurations attend by an implementation of transformers."""
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = implementation
    try:
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own


def register() -> None:
    """Makes IMPLEMENTATION known to transformers. Masks are the backend's own business, so none is built."""
    AttentionInterface.register(IMPLEMENTATION, attend_encoder_decoder)
    AttentionMaskInterface.register(IMPLEMENTATION, lambda *_args, **_kwargs: None)
