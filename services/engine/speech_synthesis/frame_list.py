"""Frames of codes as the library's `generate` makes them, one step after the other."""

from collections.abc import Callable

from torch import Tensor
from transformers.generation.streamers import BaseStreamer


class FrameList(BaseStreamer):
    """What `generate` is given as its streamer. Lets others have their turn after each frame."""

    def __init__(self, pause: Callable[[], None], frames: list[Tensor], silence: int) -> None:
        """Appends to `frames` what each step makes, but for the last, which has nothing but `silence`."""
        self._pause = pause
        self._frames = frames
        self._silence = silence
        self._began = False

    def put(self, value: Tensor) -> None:
        """Takes the prompt, and then one frame after the other."""
        if self._began and bool((value != self._silence).any()):
            self._frames.append(value.flatten())
        self._began = True
        self._pause()

    def end(self) -> None:
        """Nothing: what called `generate` knows."""
