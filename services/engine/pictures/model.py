"""What is the same for all models that write about one picture."""

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
    """A model with its image processor and its tokenizer, taken apart where a picture goes in.

    Its methods may run in any thread, but for those that run the model.
    """

    reads_question = False
    """Whether a question is part of the picture, or read together with it. Else it stands before the output."""

    def __init__(self, model: PreTrainedModel, processor: Any, tokenizer: Any) -> None:
        self.model: Any = model
        self.processor = processor
        self.tokenizer = tokenizer
        self._seen: dict[tuple[int, ...], int] = {}

    @property
    @abstractmethod
    def generator(self) -> PreTrainedModel:
        """What generates token by token."""

    @property
    def decoder(self) -> PreTrainedModel | None:
        """What attends to a picture's features by cross-attention; None if that is not how it sees them."""
        return self.generator

    @property
    @abstractmethod
    def starts(self) -> tuple[int, ...]:
        """What is before a prompt, or before the output where there is none."""

    @property
    def ends(self) -> frozenset[int] | None:
        """What an output ends with; None: what the generation configuration says."""
        return None

    @abstractmethod
    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """Returns what the whole model's own `generate` is given for a picture and a prompt `[1, tokens]`."""

    @abstractmethod
    def given(self, features: Tensor) -> dict[str, Any]:
        """Returns what the generator's own `generate` is given beside tokens for a picture's features."""

    def states(self, features: Tensor) -> Tensor:
        """Returns what the decoder attends to, `[1, tokens, width]`."""
        return features.unsqueeze(0)

    @abstractmethod
    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """Returns the features `[pictures, tokens, width]` of pictures whose inputs are of one shape."""

    def check_growth(self, image: Image.Image, _question: str, limits: ImageLimits) -> None:
        """Refuses a picture that would become larger than the limit on its way to what the model reads.

        Raises ImageRefused.
        """
        check_growth(self.processor, *image.size, limits)

    def inputs(self, image: Image.Image, _question: str) -> dict[str, Tensor]:
        """Returns what the model reads of a picture, in batches of one.

        Raises:
            ImageRefused: it cannot be resized to what the model reads.
        """
        return {"pixel_values": self.pixels(image)}

    def pixels(self, image: Image.Image) -> Tensor:
        """Returns what the processor makes of an image in RGB, `[1, ...]`. Raises ImageRefused as `inputs` does."""
        found = _read(self.processor, image)
        if self._seen and tuple(found.shape) not in self._seen:
            raise unfit(image)
        return found

    def token_count(self, inputs: dict[str, Tensor]) -> int:
        """Returns how many tokens a picture's features stand for."""
        return self._seen[tuple(inputs["pixel_values"].shape)]

    @torch.inference_mode()
    def learn(self, images: list[Image.Image]) -> None:
        """Finds out how many tokens stand for pictures, by encoding some."""
        for image in images:
            pixels = _read(self.processor, image)
            self._seen[tuple(pixels.shape)] = self._tokens_of(self._given(pixels))

    def most_tokens(self, _context: int) -> int:
        """Returns how many tokens a picture's features stand for at most, where its texts have `context` at most."""
        return max(self._seen.values())

    def _tokens_of(self, pixels: Tensor) -> int:
        return self.encode({"pixel_values": pixels}).shape[1]

    def _given(self, value: Tensor) -> Tensor:
        return value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)


def _read(processor: Any, image: Image.Image) -> Tensor:
    return processed(processor, image)["pixel_values"].unsqueeze(0)
