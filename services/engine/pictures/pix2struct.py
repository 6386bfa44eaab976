"""Pix2Struct: reads an image as a variable number of patches, with a question rendered above it."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.models.pix2struct.image_processing_pil_pix2struct import render_text

from services.engine.checkpoint import Checkpoint, ModelRefused, find_file
from services.engine.images.growth import check_grown
from services.engine.media.image import ImageLimits
from services.engine.pictures.families import EncoderDecoder

FONT = "Arial.TTF"


class Pix2Struct(EncoderDecoder):
    """The Pix2Struct family. Padding patches of the processor are removed, because the model masks them anyway."""

    def __init__(self, model: Any, processor: Any, tokenizer: Any, checkpoint: Checkpoint) -> None:
        """Takes the loaded parts of a checkpoint.

        Raises:
            ModelRefused: the model needs questions rendered above images, and the checkpoint has no font for it.
        """
        super().__init__(model, processor, tokenizer)
        self.reads_question = bool(processor.is_vqa)
        font = find_file(checkpoint, FONT) if self.reads_question else None
        if self.reads_question and font is None:
            raise ModelRefused(
                f"{checkpoint.source} reads questions that are written above the image, in a font that does not come "
                f"with it: put that which it was trained with, {FONT} of ybelkada/fonts on the hub, beside its weights."
            )
        self._font = None if font is None else font.read_bytes()

    def check_growth(self, image: Image.Image, question: str, limits: ImageLimits) -> None:
        """See PictureModel. Image and rendered question are both scaled to the wider one's width."""
        if self.reads_question:
            header = render_text(question, font_bytes=self._font)
            width = max(header.width, image.width)
            height = width * max(part.height / part.width for part in (header, image))
            check_grown(width * height, *image.size, limits)

    def inputs(self, image: Image.Image, question: str) -> dict[str, Tensor]:
        """See PictureModel."""
        pixels = np.moveaxis(np.asarray(image), -1, 0)
        if self.reads_question:
            pixels = self.processor.render_header(pixels, question, font_bytes=self._font)
        found = self.processor(images=pixels, return_tensors="pt", is_vqa=False)
        return {"flattened_patches": found["flattened_patches"][:, found["attention_mask"][0].bool()]}

    def token_count(self, inputs: dict[str, Tensor]) -> int:
        """See PictureModel."""
        return inputs["flattened_patches"].shape[1]

    def learn(self, images: list[Image.Image]) -> None:
        """See PictureModel. There is nothing to learn: each patch is one token."""

    def most_tokens(self, _context: int) -> int:
        """See PictureModel."""
        return int(self.processor.max_patches)

    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """See PictureModel."""
        return super().arguments({**inputs, "attention_mask": self._mask(inputs["flattened_patches"])}, prompt)

    def generator_arguments(self, features: Tensor) -> dict[str, Any]:
        """See PictureModel."""
        return {**super().generator_arguments(features), "attention_mask": self._mask(features.unsqueeze(0))}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """See PictureModel."""
        patches = self._on_device(inputs["flattened_patches"])
        return self.model.encoder(flattened_patches=patches, attention_mask=self._mask(patches))[0]

    def _mask(self, patches: Tensor) -> Tensor:
        return torch.ones(patches.shape[:-1], device=self.model.device)
