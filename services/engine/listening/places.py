"""Adapts Moonshine Streaming: pads samples to whole frames, and adds position embeddings in the encoder."""

from typing import Any

import torch
from torch import Tensor, nn

from services.engine.media.recording import Samples


class WholeFrames:
    """A feature extractor that pads samples to whole frames, which the model's processor otherwise does."""

    def __init__(self, extractor: Any, frame: int) -> None:
        self._extractor = extractor
        self._frame = frame

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)

    def __call__(self, samples: Samples, **named: Any) -> Any:
        """Pads the samples with masked silence and calls the extractor."""
        return self._extractor(samples, padding=True, pad_to_multiple_of=self._frame, **named)


class _NoPlaces(nn.Module):
    def forward(self, places: Tensor) -> Tensor:
        """Returns a zero to add."""
        return torch.zeros((), device=places.device)


def place_states(model: Any) -> int:
    """Moves the position embeddings of encoder states from the decoder to the encoder; returns their number.

    The decoder would add them to the concatenated states of all sequences that start in one step, so a second window
    would get the positions after the first one's.
    """
    decoder = model.get_decoder()
    places: nn.Embedding = decoder.pos_emb
    decoder.pos_emb = _NoPlaces()

    def placed(_module: nn.Module, _given: Any, output: Any) -> Any:
        states: Tensor = output.last_hidden_state
        output.last_hidden_state = states + places.weight[: states.shape[1]]
        return output

    model.get_encoder().register_forward_hook(placed)
    return places.num_embeddings
