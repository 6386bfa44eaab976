"""Encodes pictures in the engine's thread, with the interface of MediaEncoder."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from services.engine.generation.running.media import Medium
from services.engine.pictures.model import PictureModel


class PictureEncoder:
    """Encodes batches of pictures. Belongs to the engine's thread."""

    def __init__(self, pictures: PictureModel) -> None:
        self._pictures = pictures

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self._pictures.model.device

    def on_module(self, call: Callable[[], None]) -> None:
        """See MediaEncoder."""
        generating = self._pictures.decoder or self._pictures.generator
        inside = set(generating.modules())
        for module in self._pictures.model.modules():
            if module not in inside:
                module.register_forward_pre_hook(lambda *_: call())

    @torch.inference_mode()
    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns the features of each picture. All inputs must have equal shapes."""
        inputs = {name: torch.cat([medium.inputs[name] for medium in media]) for name in media[0].inputs}
        return [features.clone() for features in self._pictures.encode(inputs)]
