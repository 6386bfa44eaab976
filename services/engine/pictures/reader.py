"""Decodes a picture and prepares it, with its question, as an image-to-text model's medium."""

import hashlib
from dataclasses import dataclass

from PIL import Image

from services.engine.generation.running.media import Medium
from services.engine.media.image import ImageLimits, decode_image
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.processor import digest_of
from services.engine.pictures.model import PictureModel


@dataclass(frozen=True)
class PictureReader:
    """Decodes images within limits, and prepares those that are not in the cache. Thread-safe."""

    pictures: PictureModel
    cache: MediaCache
    limits: ImageLimits

    def read(self, data: bytes, media_type: str, question: str = "") -> Medium:
        """Returns the medium of an image file, from the cache if it is there. `question` is encoded with it.

        Raises:
            ImageRefused: see `decode_image`; or the image cannot be resized for the model, or would become too large.
        """
        image = decode_image(data, media_type, self.limits)
        self.pictures.check_growth(image, question, self.limits)
        digest = hashlib.sha256(digest_of(MediaKind.IMAGE, image) + question.encode()).digest()
        return self.cache.find(digest) or self.cache.add(medium_of(self.pictures, image, question, digest))


def medium_of(pictures: PictureModel, image: Image.Image, question: str, digest: bytes) -> Medium:
    """Returns the medium of a picture, without features yet. Raises ImageRefused like PictureModel."""
    inputs = pictures.inputs(image, question)
    return Medium(digest=digest, replacement="", token_count=pictures.token_count(inputs), inputs=inputs)
