"""A window of audio as the source of a sequence, and what the runner records of it."""

import secrets

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.running.media import Medium, PromptMedia


def window_medium(features: Tensor, frames: int) -> Medium:
    """Returns a window of features `[bins, frames]`, not encoded yet; the encoder makes `frames` states of it."""
    return Medium(secrets.token_bytes(16), "", frames, {"input_features": features[None]})


class Hearing(PromptMedia):
    """One window, for one sequence. What is recorded belongs to the engine's thread until the sequence ends."""

    def __init__(self, window: Medium, start_place: int, *, aligns: bool = False) -> None:
        """`start_place` is the position of the start-of-transcript token; `aligns` asks for cross-attention."""
        super().__init__([window], [np.array([start_place])])
        self.start_place = start_place
        self.start: Tensor | None = None
        """Log-probabilities `[vocabulary]` of the token after it: languages, or no speech."""
        self.aligns = aligns
        """Whether the cross-attention of the prompt's tokens is recorded."""
        self._looks: dict[int, list[Tensor]] = {}

    def begin(self) -> None:
        """Drops recorded attention, because the prompt is computed from its first token (again)."""
        self._looks.clear()

    def look(self, layer: int, weights: Tensor) -> None:
        """Records the cross-attention of the next prompt tokens in a layer's heads, `[heads, tokens, frames]`."""
        self._looks.setdefault(layer, []).append(weights)

    @property
    def attention(self) -> list[Tensor]:
        """Recorded cross-attention of each head, `[prompt tokens, frames]`."""
        return [head for weights in self._looks.values() for head in torch.cat(weights, 1).unbind()]
