"""State that a model keeps in its modules between forwards, and which each sequence needs for itself."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

_LONGEST = "max_seq_len_cached"
_ROTARY = ("inv_freq", _LONGEST, "attention_scaling")
"""Endings of the names of buffers that rotary embeddings change when a sequence gets longer than ever."""

Remembered = tuple[Any, ...]


class ModuleMemory:
    """Reads and restores state inside a model's modules: recurrent states, rotary frequencies that grow."""

    def __init__(self, model: nn.Module, run: Callable[[], object]) -> None:
        """`run` runs the model: what that changes is the state."""
        _name_longest(model)
        before = list(_attributes(model))
        run()
        watched = [
            (module, name, value)
            for module, name, value in before
            if getattr(module, name) is not value or (name.endswith(_ROTARY) and hasattr(module, _LONGEST))
        ]
        self._places = [(module, name) for module, name, _ in watched]
        self.fresh: Remembered = tuple(value for _, _, value in watched)
        """The state of a new sequence."""

    def take(self) -> Remembered:
        """Returns the state of the modules now."""
        return tuple(getattr(module, name) for module, name in self._places)

    def recall(self, remembered: Remembered) -> None:
        """Restores a state that `take` returned."""
        for (module, name), value in zip(self._places, remembered, strict=True):
            setattr(module, name, value)


def _name_longest(model: nn.Module) -> None:
    """Gives rotary embeddings that differ by the type of a layer, as Gemma 3's, the longest length of each type.

    They name it when a sequence is first longer, too late to be watched, and read the one of all types until then.
    """
    for module in model.modules():
        if not hasattr(module, _LONGEST):
            continue
        for name, _ in list(module.named_buffers(recurse=False)):
            kind, found, _ = name.rpartition("_inv_freq")
            if found and not kind.endswith("original") and not hasattr(module, f"{kind}_{_LONGEST}"):
                setattr(module, f"{kind}_{_LONGEST}", getattr(module, _LONGEST))


def _attributes(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    for module in model.modules():
        for name, value in [*vars(module).items(), *module.named_buffers(recurse=False)]:
            if not name.startswith("_"):
                yield module, name, value
