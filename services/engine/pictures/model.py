"""PictureModel: the interface that all image-to-text models share."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.images.growth import check_growth
from services.engine.images.reader import processed, unfit
from services.engine.media.image import ImageLimits


class PictureModel(ABC):
    """An image-to-text model, split into the part that encodes a picture and the part that generates.

    Methods that run the model belong to the engine's thread; the others are thread-safe.
    """

    reads_question = False
    """Whether a question is encoded with the picture; else it is the prompt that the decoder continues."""

    def __init__(self, model: PreTrainedModel, processor: Any, tokenizer: Any) -> None:
        self.model: Any = model
        self.processor = processor
        self.tokenizer = tokenizer
        self._seen: dict[tuple[int, ...], int] = {}

    @property
    @abstractmethod
    def generator(self) -> PreTrainedModel:
        """The module that generates token by token."""

    @property
    def decoder(self) -> PreTrainedModel | None:
        """The decoder, if it sees the picture's features by cross-attention; else None."""
        return self.generator

    @property
    @abstractmethod
    def starts(self) -> tuple[int, ...]:
        """The token ids that the decoder's input starts with, before a prompt."""

    def begun(self, prompt: list[int]) -> list[int]:
        """Returns the decoder's input for the tokens of a prompt, which may be none."""
        return [*self.starts, *prompt]

    @property
    def ends(self) -> frozenset[int] | None:
        """The end token ids; None: those of the generation configuration."""
        return None

    @abstractmethod
    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """Returns the arguments of the whole model's `generate` for a picture and a prompt `[1, tokens]`."""

    @abstractmethod
    def generator_arguments(self, features: Tensor) -> dict[str, Any]:
        """Returns the arguments of the generator's `generate` for a picture's features, apart from tokens."""

    def states(self, features: Tensor) -> Tensor:
        """Returns the states that the decoder cross-attends to, `[1, tokens, width]`."""
        return features.unsqueeze(0)

    @abstractmethod
    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Returns the features of pictures, `[pictures, tokens, width]`. All inputs must have equal shapes."""

    def check_growth(self, image: Image.Image, _question: str, limits: ImageLimits, /) -> None:
        """Checks that the image processor does not make a picture larger than the limit in between.

        Raises:
            ImageRefused: it would.
        """
        check_growth(self.processor, *image.size, limits)

    def inputs(self, image: Image.Image, _question: str, /) -> dict[str, Tensor]:
        """Returns the model's inputs for a picture, each with a batch dimension of 1.

        Raises:
            ImageRefused: the picture cannot be resized for the model.
        """
        return {"pixel_values": self.pixels(image)}

    def pixels(self, image: Image.Image) -> Tensor:
        """Returns the processed pixels of an RGB image, `[1, ...]`. Raises ImageRefused like `inputs`."""
        found = _read(self.processor, image)
        if self._seen and tuple(found.shape) not in self._seen:
            raise unfit(image)
        return found

    def token_count(self, inputs: dict[str, Tensor]) -> int:
        """Returns the number of tokens in a picture's features."""
        return self._seen[tuple(inputs["pixel_values"].shape)]

    @torch.inference_mode()
    def learn(self, images: list[Image.Image]) -> None:
        """Learns the number of feature tokens for each input shape, by encoding test images."""
        for image in images:
            pixels = _read(self.processor, image)
            self._seen[tuple(pixels.shape)] = self._tokens_of(self._on_device(pixels))

    def most_tokens(self, _context: int, /) -> int:
        """Returns the most tokens that a picture's features can have; texts have at most `context` tokens."""
        return max(self._seen.values())

    def _tokens_of(self, pixels: Tensor) -> int:
        return self.encode({"pixel_values": pixels}).shape[1]

    def _on_device(self, value: Tensor) -> Tensor:
        return value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)


def _read(processor: Any, image: Image.Image) -> Tensor:
    return processed(processor, image)["pixel_values"].unsqueeze(0)
