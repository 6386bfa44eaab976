"""The field of a request that holds an image."""

from dataclasses import dataclass

from sensorium.errors import Violation
from services.engine.images.reader import ImageInputs, ImageReader
from services.engine.media.refusal import ImageRefused
from services.sent_media import SentMedia


@dataclass(frozen=True)
class ImageField:
    """Decodes images, or tells everything that is wrong with them."""

    reader: ImageReader
    longest: int
    """The greatest length, as of ModelInputs, that an image may have for the model."""

    def read(self, image: SentMedia, wrong: list[Violation], *, field: str = "image") -> ImageInputs | None:
        """Returns the model's inputs of an image; None if something is wrong with it, which is added to `wrong`."""
        if image.wrong:
            wrong.append(Violation(field, image.wrong))
            return None
        try:
            found = self.reader.read(image.data, image.media_type)
        except ImageRefused as error:
            wrong.append(Violation(field, str(error)))
            return None
        if found.length > self.longest:
            size = f"{found.width} × {found.height}"
            wrong.append(
                Violation(field, f"is {size} pixels, which is too much for the model to read: send it smaller")
            )
            return None
        return found
