"""From the file of an image, and a question about it, to what a model that writes about pictures takes of them."""

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
    """Decodes images within limits and prepares what is new. For any thread."""

    pictures: PictureModel
    cache: MediaCache
    limits: ImageLimits

    def read(self, data: bytes, media_type: str, question: str = "") -> Medium:
        """Returns the picture in a file; `question` is what is asked of it, if the model reads that with it.

        Raises:
            ImageRefused: see `decode_image`; or it cannot be resized for the model, or would become too large.
        """
        image = decode_image(data, media_type, self.limits)
        self.pictures.check_growth(image, question, self.limits)
        digest = hashlib.sha256(digest_of(MediaKind.IMAGE, image) + question.encode()).digest()
        return self.cache.find(digest) or self.cache.add(medium_of(self.pictures, image, question, digest))


def medium_of(pictures: PictureModel, image: Image.Image, question: str, digest: bytes) -> Medium:
    """Returns a picture that was not encoded yet. Raises ImageRefused as PictureModel does."""
    inputs = pictures.inputs(image, question)
    return Medium(digest=digest, replacement="", token_count=pictures.token_count(inputs), inputs=inputs)
