"""Collects the frames of the library's `generate` as it makes them."""

from collections.abc import Callable

from torch import Tensor
from transformers.generation.streamers import BaseStreamer


class FrameList(BaseStreamer):
    """A streamer for `generate` that collects frames and lets other requests take turns."""

    def __init__(
        self, pause: Callable[[], None], frames: list[Tensor], *, silence: int | None = None, every: int = 1
    ) -> None:
        """Appends each step's frame to `frames`, except frames of `silence` alone.

        Calls `pause` after every `every` frames.
        """
        self._pause = pause
        self._frames = frames
        self._silence = silence
        self._every = every
        self._began = False
        self.last: Tensor | None = None
        """The newest frame, of silence or not."""

    def put(self, value: Tensor) -> None:
        """Takes the prompt first, then one frame per call."""
        if self._began:
            self.last = value.flatten()
            if self._silence is None or bool((self.last != self._silence).any()):
                self._frames.append(self.last)
        self._began = True
        if len(self._frames) % self._every == 0:
            self._pause()

    def end(self) -> None:
        """Does nothing: the caller of `generate` sees its end."""
