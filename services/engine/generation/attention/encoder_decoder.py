"""Encoder-decoders over the paged cache: the cache object that their decoders are given, and their attention function.

A decoder asks its cache for the number of tokens, passes new keys and values, and attends to what it gets back. Here
the cache answers for a packed batch: with the position of each token, and with handles instead of keys and values,
which are in pages. Cross-attention keys and values are stored once, in the first forward of a sequence; later forwards
find them marked as stored. Self- and cross-attention of a layer have equal shapes, so they share the layer's pages.
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
"""Value of `attn_implementation` with which encoder-decoders use the paged cache."""


class Places(Tensor):
    """For each packed token its position minus its index in the batch, since the model adds the index itself.

    Models compare this with their greatest length: such a comparison is true if it is for any token. Results of
    operations with other tensors are ordinary tensors.
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
    """The decoder's cache for its own tokens. Keeps a layer's new keys and values until the layer attends."""

    def __init__(self, positions: Tensor, longest: int) -> None:
        """`positions` `[T]` of the packed tokens; `longest` is the longest context of a row, including new tokens."""
        super().__init__(layers=[])
        self._before = (positions - torch.arange(len(positions), device=positions.device)).as_subclass(Places)
        self._longest = longest
        self.new: dict[int, tuple[Tensor, Tensor]] = {}

    def get_seq_length(self, layer_idx: int | None = None) -> Any:
        """Returns Places: `[T]` for the model, or a column `[T, 1]` for one of its layers."""
        return self._before if layer_idx is None else self._before.unsqueeze(1)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Takes new keys and values `[1, heads, T, width]`. Returns handles with the length of the longest row."""
        self.new[layer_idx] = (key_states, value_states)
        handle = key_states.new_empty(1).expand(*key_states.shape[:2], self._longest, key_states.shape[3])
        return handle, handle


class PagedCrossAttention(Cache):
    """The cache for cross-attention. Writes keys and values into pages when a sequence begins; later a handle replaces
    them.
    """

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
        """Slots for the encoder's tokens of the sequences that begin in this forward."""

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Stores keys and values `[1, heads, encoder tokens, width]`, and returns handles."""
        assert self.slots is not None
        self._cache.write(layer_idx, self.slots, key_states[0].transpose(0, 1), value_states[0].transpose(0, 1))
        return self.handle(layer_idx), self.handle(layer_idx)

    def handle(self, layer_idx: int) -> Tensor:
        """Returns the handle of a layer's keys and values."""
        layer: Any = self.layers[layer_idx]
        return layer.keys


class PagedCaches(EncoderDecoderCache):
    """The cache that a decoder is given for one forward."""

    def __init__(self, own: PagedSelfAttention, cross: PagedCrossAttention, *, begins: bool) -> None:
        """`begins` says that this forward has to store cross-attention keys and values."""
        super().__init__(own, cross)
        self.own = own
        self.cross = cross
        self.is_updated = dict.fromkeys(range(len(cross.layers)), not begins)

    def get_seq_length(self, layer_idx: int | None = None) -> Any:
        """See PagedSelfAttention."""
        return self.own.get_seq_length(layer_idx)


@dataclass(frozen=True)
class EncoderDecoderCall:
    """A backend with its plans of the step for self- and cross-attention.

    The attention function gets it from a context variable that `calling` sets, since not every decoder passes its
    arguments on to cross-attention.
    """

    backend: AttentionBackend
    caches: PagedCaches
    own_plan: Any
    cross_plan: Any

    def attend(self, layer: AttentionLayer, query: Tensor, key: Tensor) -> Tensor:
        """Returns `[T, heads, width]` for queries `[T, heads, width]`. `key` is the handle that the layer was given."""
        if key is self.caches.cross.handle(layer.index):
            nothing = key[0].transpose(0, 1)
            return self.backend.attend(layer, query, nothing, nothing, self.cross_plan)
        keys, values = (tensor[0].transpose(0, 1) for tensor in self.caches.own.new.pop(layer.index))
        return self.backend.attend(layer, query, keys, values, self.own_plan)


_CALL: ContextVar[EncoderDecoderCall] = ContextVar("call")


@contextmanager
def calling(call: EncoderDecoderCall) -> Generator[None]:
    """Within the context, the attention function uses `call`."""
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
    """Adapts transformers' attention interface of a decoder, `[1, heads, T, width]`, to the current call."""
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
    """Within the context, modules with these configurations use an attention implementation of transformers."""
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = implementation
    try:
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own


def register() -> None:
    """Registers IMPLEMENTATION with transformers. Backends do their own masking, so no masks are built."""
    AttentionInterface.register(IMPLEMENTATION, attend_encoder_decoder)
    AttentionMaskInterface.register(IMPLEMENTATION, lambda *_args, **_kwargs: None)
