"""What is the same for all models that write by frames of sound, so that what they write has times."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from services.engine.audio.emissions import Emission
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.audio.windows import Window


class FrameModel(Protocol):
    """A model as FrameTranscriber asks it."""

    @property
    def samples_per_frame(self) -> int:
        """Samples that a frame stands for. Known after `measure`."""
        ...

    @property
    def runner(self) -> type[AudioRunner]:
        """What takes batches through `compute`."""
        ...

    @property
    def writes_special(self) -> bool:
        """Whether special tokens of the vocabulary are text too."""
        ...

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what it writes of recordings side by side; a Compute of AudioRunner."""
        ...

    def measure(self, reader: AudioReader, runner: AudioRunner) -> None:
        """Learns how long a frame is; and lets nothing be padded where padding cannot be told from sound.

        Raises:
            ModelRefused: frames are no whole number of samples.
        """
        ...

    def emissions(self, found: Sequence[Window], outputs: Sequence[Any]) -> list[Emission]:
        """Returns what was written over all windows, each in the frames it answers for; `outputs` are of `compute`."""
        ...
