"""Makes one embedding of a recording with an audio-only model."""

from typing import Any

import torch
from torch import Tensor

from services.engine.audio.frame_count import FrameCount
from services.engine.audio.loading import LoadedAudioModel

POOLERS = ("pooler.",)
"""Name prefixes of weights that checkpoints made for another task leave out."""


class AudioVectors:
    """Pools with the model's own pooler if its weights exist, else by the mean of the hidden states."""

    def __init__(self, loaded: LoadedAudioModel) -> None:
        self._model: Any = loaded.model
        self._pools = not loaded.missing
        self.frames = FrameCount(loaded.model)

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `vector` `[recordings, width]`. A Compute of AudioRunner."""
        output = self._model(**batch)
        own = getattr(output, "pooler_output", None)
        if own is not None and self._pools:
            return {"vector": own.flatten(1)}
        # A sum over minutes overflows in float16, and numbers of frames above 256 are rounded in bfloat16.
        states: Tensor = output.last_hidden_state.float()
        count = self.frames.of(batch, states.shape[1]).to(states.device)
        inside = torch.arange(states.shape[1], device=states.device) < count[:, None]
        return {"vector": (states * inside[..., None]).sum(1) / count[:, None]}
