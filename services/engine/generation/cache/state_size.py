"""Measures the memory of a sequence whose state is the model's own cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from services.engine.generation.cache.module_memory import ModuleMemory
from services.engine.generation.cache.own_cache import OwnCache
from services.engine.loading import LoadedModel

_SHORT, _LONG = 16, 48


@dataclass(frozen=True)
class StateSize:
    """Bytes of one sequence: a fixed part, such as recurrent states, and a part for each token."""

    fixed_bytes: int
    token_bytes: int


@torch.inference_mode()
def state_size(loaded: LoadedModel, memory: ModuleMemory, given: Mapping[str, Any] | None = None) -> StateSize:
    """Measures sequences of two lengths. All tokens count as the larger of an encoder's and a decoder's.

    `given` are inputs beside tokens, as for OwnCache; an encoder then reads nothing else.
    """

    def measured(prompt: int, source: int) -> int:
        cache = OwnCache(loaded.generator, memory, given)
        cache.advance([*loaded.decoder_start_ids, *[0] * prompt], [0] * source)
        return sum(tensor.untyped_storage().nbytes() for tensor in cache.tensors())

    source = _SHORT if loaded.decoder_start_ids and given is None else 0
    small = measured(_SHORT, source)
    growth = [measured(_LONG, source) - small]
    if source:
        growth.append(measured(_SHORT, _LONG) - small)
    token_bytes = max(max(growth) // (_LONG - _SHORT), 0)
    return StateSize(max(small - (_SHORT + source) * token_bytes, 0), token_bytes)
