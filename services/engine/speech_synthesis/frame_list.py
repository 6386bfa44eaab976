"""Frames of codes as the library's `generate` makes them, one step after the other."""

from collections.abc import Callable

from torch import Tensor
from transformers.generation.streamers import BaseStreamer


class FrameList(BaseStreamer):
    """What `generate` is given as its streamer. Lets others have their turn."""

    def __init__(
        self, pause: Callable[[], None], frames: list[Tensor], *, silence: int | None = None, every: int = 1
    ) -> None:
        """Appends to `frames` what each step makes, but for one that has nothing but `silence`.

        Others have their turn after `every` so many.
        """
        self._pause = pause
        self._frames = frames
        self._silence = silence
        self._every = every
        self._began = False

    def put(self, value: Tensor) -> None:
        """Takes the prompt, and then one frame after the other."""
        if self._began and (self._silence is None or bool((value != self._silence).any())):
            self._frames.append(value.flatten())
        self._began = True
        if len(self._frames) % self._every == 0:
            self._pause()

    def end(self) -> None:
        """Nothing: what called `generate` knows."""
