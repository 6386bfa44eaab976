"""Splits recordings that are longer than one pass into overlapping windows."""

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from services.engine.audio.reader import AudioReader
from services.engine.media.recording import Samples


@dataclass(frozen=True)
class Window:
    """A window of a recording, in samples."""

    start: int
    stop: int
    left: int
    """Samples at its beginning whose text the previous window gives."""
    right: int
    """Samples at its end whose text the next window gives."""

    def __len__(self) -> int:
        return self.stop - self.start


def windows(length: int, longest: int, stride: int) -> list[Window]:
    """Returns windows of at most `longest` samples that cover `length`, cut as transformers' pipeline cuts them.

    Text comes from all but `stride` samples at either side; at the recording's ends from those too.
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
    """The AudioInputs of a window. Features are made when its batch is computed, not while it waits in the queue."""

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
    """Returns the indices of the frames that a window gives text for.

    For the last window the range is unbounded, because models round the number of frames up.
    """
    total = round(len(window) / samples_per_frame)
    left, right = (round(side / len(window) * total) for side in (window.left, window.right))
    return range(left, total - right if window.right else sys.maxsize)


def cut(values: Any, window: Window, samples_per_frame: int) -> Any:
    """Returns the part of `values` `[frames, ...]` that a window gives text for."""
    own = answered(window, samples_per_frame)
    return values[own.start : own.stop]
