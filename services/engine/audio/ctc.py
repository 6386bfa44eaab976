"""CTC models, which predict a token or the blank for each frame of audio."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from services.engine.audio.emissions import Emission, emissions
from services.engine.audio.frame_count import FrameCount, frame_length
from services.engine.audio.loading import LoadedAudioModel
from services.engine.audio.reader import AudioReader
from services.engine.audio.runner import AudioRunner
from services.engine.audio.windows import Window, cut


class CtcModel:
    """A FrameModel for CTC."""

    writes_special = True
    runner = AudioRunner

    def __init__(self, loaded: LoadedAudioModel) -> None:
        assert loaded.tokenizer is not None
        self._loaded = loaded
        self._model: Any = loaded.model
        self._frames = FrameCount(loaded.model)
        # OmniASR's blank differs from its padding token.
        blank: Any = getattr(loaded.config, "blank_token_id", loaded.tokenizer.pad_token_id)
        self._blank: int = blank
        self.samples_per_frame = 0
        """Set by `measure`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `ids` and `log_probabilities` of the likeliest tokens, each `[items, frames]`. A Compute.

        `count` `[items]` is the number of an item's frames without padding.
        """
        logits: Tensor = self._model(**batch).logits.float()
        highest, ids = logits.max(-1)
        count = self._frames.of(batch, logits.shape[1])
        return {"ids": ids, "log_probabilities": highest - logits.logsumexp(-1), "count": count}

    def measure(self, reader: AudioReader) -> None:
        """See FrameModel."""
        self.samples_per_frame = frame_length(reader, AudioRunner(self._loaded, self.compute), "count")
        reader.pads = reader.pads and self._frames.known

    def emissions(self, found: Sequence[Window], outputs: Sequence[Any]) -> list[Emission]:
        """See FrameModel."""

        def joined(name: str) -> Any:
            rows = (output[name][: int(output["count"])].numpy() for output in outputs)
            pairs = zip(rows, found, strict=True)
            return np.concatenate([cut(row, window, self.samples_per_frame) for row, window in pairs])

        return emissions(joined("ids"), joined("log_probabilities"), self._blank)
