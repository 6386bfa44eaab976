"""Windows of sound through the encoder."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.generation.running.media import Medium


class WindowEncoder:
    """Does for windows what MediaEncoder does for media among the tokens of a prompt."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._encoder: Any = model.get_encoder()
        self._device = model.device
        self._dtype = model.dtype

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self._device

    def on_module(self, call: Callable[[], None]) -> None:
        """Has `call` called before each module of the encoder."""
        for module in self._encoder.modules():
            module.register_forward_pre_hook(lambda *_: call())

    @torch.inference_mode()
    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns what the encoder makes of each window, `[frames, width]`."""
        features = torch.cat([medium.inputs["input_features"] for medium in media])
        states: Tensor = self._encoder(input_features=self._given(features))[0]
        return [state.clone() for state in states]

    def _given(self, value: Tensor) -> Tensor:
        return value.to(self._device, self._dtype if value.is_floating_point() else None)


class LooseEncoder(WindowEncoder):
    """The same for windows of any length, which are read one by one: none is padded, so none hears of others."""

    @torch.inference_mode()
    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns what the encoder makes of each window, `[states, width]`."""
        return [self._encoded(medium) for medium in media]

    def _encoded(self, medium: Medium) -> Tensor:
        inputs = {name: self._given(value) for name, value in medium.inputs.items()}
        states: Tensor = self._encoder(**inputs)[0][0]
        # Of frames that an extractor marks as padding its decoder is shown nothing.
        return states[: medium.token_count].clone()
