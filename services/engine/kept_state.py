"""What some models of transformers keep of an input, and would read the next one by. Put right before each.

Swin's layers make their windows as small as the smallest picture so far, and no longer shift them; attention is then
another for later ones, or fails. BigBird attends to everything for good once a text was short.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

_SPARSE, _FULL = "block_sparse", "original_full"
_SHARED = ("query", "key", "value")


def keep_nothing(model: nn.Module) -> None:
    """Lets a model answer each input as if it were its first."""
    for module in list(model.modules()):
        if hasattr(module, "set_shift_and_window_size"):
            module.register_forward_pre_hook(_windows(module))
        elif _chooses_attention(module):
            module.register_forward_pre_hook(_AttentionByLength(module), with_kwargs=True)


def attends_by_length(model: nn.Module) -> bool:
    """Returns whether a model attends in blocks, the last of which is another for a text with padding behind it."""
    return any(map(_chooses_attention, model.modules()))


def _windows(layer: Any) -> Callable[..., None]:
    own = layer.window_size, layer.shift_size

    def put_back(*_: Any) -> None:
        layer.window_size, layer.shift_size = own

    return put_back


def _chooses_attention(module: Any) -> bool:
    """Returns whether this is what has attention changed for texts that are too short for blocks.

    A decoder has it changed for its cache too, and once.
    """
    config = getattr(module, "config", None)
    sparse = getattr(config, "attention_type", None) == _SPARSE and not getattr(config, "is_decoder", False)
    return sparse and hasattr(module, "set_attention_type") and hasattr(module, "_pad_to_block_size")


class _AttentionByLength:
    """Has a model attend as it does to a first text of that length. Both kinds of attention share their weights."""

    def __init__(self, model: Any) -> None:
        config = model.config
        self._most = (5 + 2 * config.num_random_blocks) * config.block_size
        """Tokens that are all attended to."""
        self._told = [module for module in model.modules() if hasattr(module, "attention_type")]
        self._attentions = [module for module in model.modules() if hasattr(module, "set_attention_type") and
                            isinstance(getattr(module, "self", None), nn.Module)]  # fmt: skip
        self._others: list[Any] = [module.self for module in self._attentions]
        """The attention that is not in use, of each."""
        model.set_attention_type(_FULL)

    def __call__(self, model: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A hook before the model's forward."""
        inputs = (*given[:1], named.get("input_ids"), named.get("inputs_embeds"))
        length = next(each.shape[1] for each in inputs if each is not None)
        wanted = _FULL if length <= self._most else _SPARSE
        if wanted == model.attention_type:
            return
        for module in self._told:
            module.attention_type = wanted
        for i, (module, other) in enumerate(zip(self._attentions, self._others, strict=True)):
            used = module.self
            for name in _SHARED:  # which something faster may have taken the place of
                setattr(other, name, getattr(used, name))
            module.self, self._others[i] = other, used
