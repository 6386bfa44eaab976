"""Runs windows of audio through the encoder."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.generation.running.media import Medium


class WindowEncoder:
    """Encodes windows of one fixed length, as a batch. The MediaQueue uses it like a MediaEncoder."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._encoder: Any = model.get_encoder()
        self._device = model.device
        self._dtype = model.dtype

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self._device

    def on_module(self, call: Callable[[], None]) -> None:
        """Registers `call` to run before each module of the encoder."""
        for module in self._encoder.modules():
            module.register_forward_pre_hook(lambda *_: call())

    @torch.inference_mode()
    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns the encoder's states of each window, `[frames, width]`."""
        features = torch.cat([medium.inputs["input_features"] for medium in media])
        states: Tensor = self._encoder(input_features=self._given(features))[0]
        return [state.clone() for state in states]

    def _given(self, value: Tensor) -> Tensor:
        return value.to(self._device, self._dtype if value.is_floating_point() else None)


class LooseEncoder(WindowEncoder):
    """Encodes windows of any length, one by one: without padding no window influences another."""

    @torch.inference_mode()
    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns the encoder's states of each window, `[states, width]`."""
        return [self._encoded(medium) for medium in media]

    def _encoded(self, medium: Medium) -> Tensor:
        inputs = {name: self._given(value) for name, value in medium.inputs.items()}
        states: Tensor = self._encoder(**inputs)[0][0]
        # States of frames that the extractor masks as padding are not for the decoder.
        return states[: medium.token_count].clone()
