"""The library's own `generate`, which returns only when all is done, taken by turns."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import StoppingCriteria

from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.turns import Turns

T = TypeVar("T")
_STEPS = 8
"""Steps of a decoder before others have their turn."""


def taken(work: Callable[[Callable[[], None]], T], draws: Draws) -> Generator[None, None, T]:
    """Yields wherever `work` calls what it is given, and returns what it returns. It draws from `draws` alone."""

    def whole(pause: Callable[[], None]) -> tuple[T]:
        with torch.inference_mode():  # of its thread
            return (work(pause),)

    steps, made = iter(Turns(whole)), None
    try:
        while True:
            with draws.in_force():
                made = next(steps)
            if made is not None:
                return made[0]
            yield None
    finally:
        steps.close()


@contextmanager
def handed_over(model: Any, name: str, put: Callable[[Tensor], None]) -> Generator[None]:
    """Hands over the frame `name` that each of this thread's steps is given, for loops that do not stream frames.

    The first step is given none of its own, for which there is something empty; the last frame is given to no step.
    """
    mine = threading.get_ident()

    def hand(_module: object, _arguments: object, given: dict[str, Any]) -> None:
        if threading.get_ident() == mine:
            frames = given.get(name)
            put(torch.empty(0) if frames is None else frames[0, -1])

    hook = model.register_forward_pre_hook(hand, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


class Pauses(StoppingCriteria):
    """Stops nothing, but lets others have their turn."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._steps = 0

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Goes on."""
        self._steps += 1
        if self._steps % _STEPS == 0:
            self._pause()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
