"""How much memory a sequence takes whose state is the model's own cache."""

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
    """Bytes of one sequence: those it takes whatever its length, as recurrent states do, and those of each token."""

    fixed_bytes: int
    token_bytes: int


@torch.inference_mode()
def state_size(loaded: LoadedModel, memory: ModuleMemory, given: Mapping[str, Any] | None = None) -> StateSize:
    """Measures sequences of two lengths. Where an encoder's tokens take more than a decoder's, all are counted so.

    Where something is `given` beside tokens, see OwnCache, an encoder reads nothing else.
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
