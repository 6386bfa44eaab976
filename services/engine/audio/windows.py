"""A recording that is longer than what is read at once, as windows that share samples with their neighbours."""

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from services.engine.audio.reader import AudioReader
from services.engine.media.recording import Samples


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, in samples."""

    start: int
    stop: int
    left: int
    """Samples at its beginning that the window before it answers for."""
    right: int
    """Samples at its end that the window behind it answers for."""

    def __len__(self) -> int:
        return self.stop - self.start


def windows(length: int, longest: int, stride: int) -> list[Window]:
    """Returns windows of at most `longest` samples over `length`, as transformers' pipeline cuts them.

    Each answers for all but `stride` samples at either side; the first and the last one for the recording's ends.
    """
    found: list[Window] = []
    for start in range(0, length, longest - 2 * stride):
        stop = min(start + longest, length)
        last = start + longest >= length
        found.append(Window(start, stop, stride if start else 0, 0 if last else stride))
        if last:
            break
    return found


@dataclass(frozen=True, eq=False)
class WindowInputs:
    """What the model reads of a window. Its features are made when the model has time for it, not while it waits."""

    reader: AudioReader
    samples: Samples

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """See AudioInputs."""
        return self.reader.process(self.samples).tensors

    @property
    def kind(self) -> Hashable:
        """See AudioInputs."""
        return None if self.reader.pads else len(self.samples)

    @property
    def length(self) -> int:
        """See AudioInputs."""
        return self.reader.frames(len(self.samples))


def answered(window: Window, samples_per_frame: int) -> range:
    """Returns the places of those of a window's frames that it answers for. The last one's have no end.

    Models round up: its frames go as far as there are any.
    """
    total = round(len(window) / samples_per_frame)
    left, right = (round(side / len(window) * total) for side in (window.left, window.right))
    return range(left, total - right if window.right else sys.maxsize)


def cut(values: Any, window: Window, samples_per_frame: int) -> Any:
    """Returns those of a window's frames that it answers for."""
    own = answered(window, samples_per_frame)
    return values[own.start : own.stop]
