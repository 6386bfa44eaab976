"""Makes SpeechT5's attention use transformers' attention interface, which its code does not know."""

from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.speecht5.modeling_speecht5 import SpeechT5Attention

from services.engine.generation.attention.encoder_decoder import IMPLEMENTATION, PagedCaches, attend_encoder_decoder


def attend_in_pages(decoder: PreTrainedModel) -> None:
    """Patches the decoder's attention to use the paged cache while that implementation is set; else unchanged."""
    for module in decoder.modules():
        if isinstance(module, SpeechT5Attention):
            module.forward = MethodType(_attending(decoder.config, module.forward), module)


def _attending(config: Any, own: Callable[..., Any]) -> Callable[..., Any]:
    def forward(
        module: Any, hidden_states: Tensor, key_value_states: Tensor | None = None, cache: Any = None, **named: Any
    ) -> Any:
        if config._attn_implementation != IMPLEMENTATION:
            return own(hidden_states, key_value_states=key_value_states, cache=cache, **named)
        keys = _keys(module, hidden_states, key_value_states, cache)
        query = _heads(module, module.q_proj(hidden_states))
        attended, _ = attend_encoder_decoder(module, query, keys, keys, None, scaling=module.scaling)
        return module.out_proj(attended.flatten(2)), None

    return forward


def _keys(module: Any, states: Tensor, source: Tensor | None, caches: PagedCaches) -> Tensor:
    """Returns the cache's handle of keys and values; stores new ones first."""
    index = module.layer_idx
    if source is not None and caches.is_updated[index]:
        return caches.cross.handle(index)
    given = states if source is None else source
    cache = caches.own if source is None else caches.cross
    keys, _ = cache.update(_heads(module, module.k_proj(given)), _heads(module, module.v_proj(given)), index)
    if source is not None:
        caches.is_updated[index] = True
    return keys


def _heads(module: Any, states: Tensor) -> Tensor:
    """Reshapes `[1, T, width]` to `[1, heads, T, head width]`."""
    return states.view(*states.shape[:2], module.num_heads, module.head_dim).transpose(1, 2)
