"""Pix2Struct, which reads an image as patches of any number and shape, with a question written above it."""

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
    """Padding is left out of what its processor makes: it was masked anyway."""

    def __init__(self, model: Any, processor: Any, tokenizer: Any, checkpoint: Checkpoint) -> None:
        """Takes what was loaded of a checkpoint.

        Raises:
            ModelRefused: questions are to be written above images, and there is no font for it.
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
        """See PictureModel. Image and question are both made as wide as the wider one."""
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
        """See PictureModel. Patches are counted."""

    def most_tokens(self, _context: int) -> int:
        """See PictureModel."""
        return int(self.processor.max_patches)

    def arguments(self, inputs: dict[str, Tensor], prompt: Tensor) -> dict[str, Tensor]:
        """See PictureModel."""
        return super().arguments({**inputs, "attention_mask": self._mask(inputs["flattened_patches"])}, prompt)

    def given(self, features: Tensor) -> dict[str, Any]:
        """See PictureModel."""
        return {**super().given(features), "attention_mask": self._mask(features.unsqueeze(0))}

    def encode(self, inputs: dict[str, Tensor]) -> Tensor:
        """See PictureModel."""
        patches = self._given(inputs["flattened_patches"])
        return self.model.encoder(flattened_patches=patches, attention_mask=self._mask(patches))[0]

    def _mask(self, patches: Tensor) -> Tensor:
        return torch.ones(patches.shape[:-1], device=self.model.device)
