"""Models that write a token, or none, for each frame of sound (connectionist temporal classification)."""

from typing import Any

from torch import Tensor

from services.engine.audio.frame_count import FrameCount
from services.engine.audio.habits import noise
from services.engine.audio.loading import LoadedAudioModel
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.checkpoint import ModelRefused

_MEASURED_SECONDS = (4, 8)
"""Their difference is a whole number of frames of any usual length."""


class CtcModel:
    """What is the same for all such models."""

    def __init__(self, loaded: LoadedAudioModel) -> None:
        self._model: Any = loaded.model
        self._frames = FrameCount(loaded.model)
        self.samples_per_frame = 0
        """Known after `measure`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the likeliest token of each frame and its log-probability, each `[items, frames]`; a Compute.

        `count` `[items]` is how many frames are an item's own; the others are padding.
        """
        logits: Tensor = self._model(**batch).logits.float()
        highest, ids = logits.max(-1)
        count = self._frames.of(batch, logits.shape[1])
        return {"ids": ids, "log_probabilities": highest - logits.logsumexp(-1), "count": count}

    def measure(self, reader: AudioReader, runner: AudioRunner) -> None:
        """Learns how many samples a frame stands for; and lets nothing be padded where it cannot be told from sound.

        Raises:
            ModelRefused: frames are no whole number of samples.
        """
        short, long = (
            int(runner.compute([reader.process(noise(seconds, reader.rate)).tensors])["count"][0])
            for seconds in _MEASURED_SECONDS
        )
        samples = (_MEASURED_SECONDS[1] - _MEASURED_SECONDS[0]) * reader.rate
        if long <= short or samples % (long - short):
            raise ModelRefused(f"It makes {long - short} frames of {samples} samples: no whole number.")
        self.samples_per_frame = samples // (long - short)
        reader.pads = reader.pads and self._frames.known
