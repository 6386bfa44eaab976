"""The interface of frame models (CTC, TDT, RNN-T), which emit tokens at frames and so give their times."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from services.engine.audio.emissions import Emission
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.audio.windows import Window


class FrameModel(Protocol):
    """A frame model as FrameTranscriber uses it."""

    @property
    def samples_per_frame(self) -> int:
        """Samples per frame. Set by `measure`."""
        ...

    @property
    def runner(self) -> type[AudioRunner]:
        """The class that runs batches through `compute`."""
        ...

    @property
    def writes_special(self) -> bool:
        """Whether special tokens of the vocabulary are part of the text."""
        ...

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the model's outputs for a batch of recordings. A Compute of AudioRunner."""
        ...

    def measure(self, reader: AudioReader) -> None:
        """Measures the frame length, and turns padding off if padded frames cannot be told from audio.

        Raises:
            ModelRefused: a frame is not a whole number of samples.
        """
        ...

    def emissions(self, found: Sequence[Window], outputs: Sequence[Any]) -> list[Emission]:
        """Returns the emissions of all windows, each cut to the frames it gives; `outputs` come from `compute`."""
        ...
