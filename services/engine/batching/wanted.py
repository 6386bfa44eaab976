"""Aborts a forward between layers once nobody waits for its result."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from torch import nn


class Unwanted(Exception):
    """Raised inside a forward whose result nobody waits for."""


class _Mine(threading.local):
    ask: Callable[[], None] | None = None


_MINE = _Mine()


@contextmanager
def asking(ask: Callable[[], None]) -> Generator[None]:
    """Makes `still_wanted` call `ask` inside this context, in this thread only."""
    _MINE.ask = ask
    try:
        yield
    finally:
        _MINE.ask = None


def still_wanted() -> None:
    """Call this between parts of long work. Raises Unwanted if nobody waits for the result."""
    if _MINE.ask is not None:
        _MINE.ask()


def ask_between_layers(model: nn.Module) -> None:
    """Makes a model call `still_wanted` before each of its layers."""
    for layer in _layers(model):
        layer.register_forward_pre_hook(lambda _layer, _inputs: still_wanted())


def _layers(model: nn.Module) -> list[nn.Module]:
    """Returns the modules in ModuleLists, and those of several operations in Sequentials (ResNet's stages)."""
    lists = [each for each in model.modules() if isinstance(each, nn.ModuleList)]
    sequences = [each for each in model.modules() if isinstance(each, nn.Sequential)]
    found = [child for each in lists for child in each.children()]
    found += [child for each in sequences for child in each.children() if any(True for _ in child.children())]
    return list(dict.fromkeys(found))
