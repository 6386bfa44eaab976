"""Runs the library's own `generate`, which returns only at its end, in turns."""

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
"""Decoder steps per turn."""


def in_turns(work: Callable[[Callable[[], None]], T], draws: Draws) -> Generator[None, None, T]:
    """Runs `work(pause)`, yields whenever it calls `pause`, and returns its result. It draws from `draws` alone."""

    def whole(pause: Callable[[], None]) -> tuple[T]:
        with torch.inference_mode():  # the mode is per thread, and this is a thread of its own
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
    """Calls `put` with the newest frame of each step of `model` in this thread, for loops that do not stream frames.

    `name` is the model's argument with the frames so far. The first step has none: `put` gets an empty tensor. The
    last frame is an input of no step, so it is not passed.
    """
    mine = threading.get_ident()

    # A hook that was removed while a step waits in the hook before it is called once more, without named arguments.
    def hand(_module: object, _arguments: object, given: dict[str, Any] | None = None) -> None:
        if threading.get_ident() == mine and given is not None:
            frames = given.get(name)
            put(torch.empty(0) if frames is None else frames[0, -1])

    hook = model.register_forward_pre_hook(hand, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


class Pauses(StoppingCriteria):
    """A stopping criterion that never stops, but calls `pause` every `_STEPS` steps."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._steps = 0

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:  # type: ignore[override]
        """Returns False for each sequence."""
        self._steps += 1
        if self._steps % _STEPS == 0:
            self._pause()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
