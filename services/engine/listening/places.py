"""What Moonshine Streaming leaves to its decoder and to its processor, done before windows lie side by side."""

from typing import Any

import torch
from torch import Tensor, nn

from services.engine.media.recording import Samples


class WholeFrames:
    """A feature extractor whose samples fill whole frames, as its processor asks for them."""

    def __init__(self, extractor: Any, frame: int) -> None:
        self._extractor = extractor
        self._frame = frame

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)

    def __call__(self, samples: Samples, **named: Any) -> Any:
        """Returns what the extractor makes of samples with silence behind them, which its mask leaves out."""
        return self._extractor(samples, padding=True, pad_to_multiple_of=self._frame, **named)


class _NoPlaces(nn.Module):
    def forward(self, places: Tensor) -> Tensor:
        """Returns what adds nothing."""
        return torch.zeros((), device=places.device)


def place_states(model: Any) -> int:
    """Lets an encoder add to its states where they are, which the decoder would do for all that begin in a step.

    One behind another, states of a second window would be taken for those of a longer first one. Returns how many
    places there are.
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
