"""What a model's modules remember between two forwards, which must be each sequence's own."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

_ROTARY = ("inv_freq", "max_seq_len_cached", "attention_scaling")
"""Ends of the names of what rotary embeddings change when a sequence outgrows the length they were made for."""

Remembered = tuple[Any, ...]


class ModuleMemory:
    """Takes and puts back what changes inside a model while it runs: recurrent states, frequencies that grow."""

    def __init__(self, model: nn.Module, run: Callable[[], object]) -> None:
        """`run` runs the model; what has changed by then is watched."""
        before = list(_attributes(model))
        run()
        watched = [
            (module, name, value)
            for module, name, value in before
            if getattr(module, name) is not value or (name.endswith(_ROTARY) and hasattr(module, "max_seq_len_cached"))
        ]
        self._places = [(module, name) for module, name, _ in watched]
        self.fresh: Remembered = tuple(value for _, _, value in watched)
        """What a sequence begins with."""

    def take(self) -> Remembered:
        """Returns what the modules remember now."""
        return tuple(getattr(module, name) for module, name in self._places)

    def recall(self, remembered: Remembered) -> None:
        """Makes the modules remember that again."""
        for (module, name), value in zip(self._places, remembered, strict=True):
            setattr(module, name, value)


def _attributes(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    for module in model.modules():
        for name, value in [*vars(module).items(), *module.named_buffers(recurse=False)]:
            if not name.startswith("_"):
                yield module, name, value
