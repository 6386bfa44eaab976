"""Decodes the images of a request one by one and collects every violation."""

import time
from dataclasses import dataclass

from sensorium.errors import DeadlineExceeded, Violation
from services.engine.batching.job import Item
from services.engine.images.reader import ImageInputs, ImageReader
from services.engine.threads.turns import give_way, hold_much
from services.image_field import ImageField
from services.media.ask import MediaInput
from services.media.media_list import ReadMedia
from services.sent_media import SentMedia


@dataclass(frozen=True)
class ImageList:
    """Reads the repeated field `images`, or the single field `image`."""

    reader: ImageReader
    most: int
    """The most images in one request."""
    most_length: int
    """The most that all images of a request may cost, as the sum of `ModelInputs.length`."""
    longest: int
    """The most that one image may cost, as `ModelInputs.length`."""
    field = "images"
    noun = "images"

    def items(self, sent: MediaInput, wrong: list[Violation], *, fewest: int = 1) -> ReadMedia:
        """See MediaList."""
        items: list[Item] = []
        if not fewest <= len(sent.media) <= self.most:
            wrong.append(Violation("images", f"must hold {fewest} to {self.most} items, not {len(sent.media)}"))
            return ReadMedia(items)  # decoding too many images would be wasted work
        for i, image in enumerate(sent.media):
            if i:  # most requests have one image, which should not wait here
                hold_much()
            give_way()
            if sent.deadline is not None and time.monotonic() > sent.deadline:
                raise DeadlineExceeded("The deadline passed while images were read.")
            if (read := self.read_one(image, wrong, field=f"images[{i}]")) is not None:
                items.append(Item(read, read.length, read.kind))
            if sum(each.length for each in items) > self.most_length:
                wrong.append(Violation("images", f"come to more than may wait at once from images[{i}] on; send fewer"))
                break
        return ReadMedia(items, images=len(items))

    def read_one(self, image: SentMedia, wrong: list[Violation], *, field: str = "image") -> ImageInputs | None:
        """Returns the model's inputs for an image. Returns None if it is invalid, and appends violations to `wrong`."""
        return ImageField(self.reader, self.longest).read(image, wrong, field=field)
