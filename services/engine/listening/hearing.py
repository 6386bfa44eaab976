"""A window of sound in the place of a prompt, and what is learned of it on the way."""

import secrets

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.running.media import Medium, PromptMedia


def window_medium(features: Tensor, frames: int) -> Medium:
    """Returns a window that the model has not encoded yet, of features `[bins, frames]`; it makes `frames` of them."""
    return Medium(secrets.token_bytes(16), "", frames, {"input_features": features[None]})


class Hearing(PromptMedia):
    """One window, for one sequence. What is noted of it belongs to the engine's thread until the sequence ends."""

    def __init__(self, window: Medium, start_place: int, *, aligns: bool = False) -> None:
        """`start_place` is where in the prompt the token stands that begins every output."""
        super().__init__([window], [np.array([start_place])])
        self.start_place = start_place
        self.start: Tensor | None = None
        """Log-probabilities `[vocabulary]` of what comes behind that token: a language, or that nobody speaks."""
        self.aligns = aligns
        """Whether it is wanted where the prompt's tokens look."""
        self._looks: dict[int, list[Tensor]] = {}

    def begin(self) -> None:
        """Forgets where tokens looked: the prompt is computed from its first."""
        self._looks.clear()

    def look(self, layer: int, weights: Tensor) -> None:
        """Notes where the next of the prompt's tokens look by some heads of a layer, `[heads, tokens, frames]`."""
        self._looks.setdefault(layer, []).append(weights)

    @property
    def attention(self) -> list[Tensor]:
        """Where all of them looked, by each head noted: `[prompt tokens, frames]`."""
        return [head for weights in self._looks.values() for head in torch.cat(weights, 1).unbind()]
