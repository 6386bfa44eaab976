"""The images of a request, decoded one by one with everything that is wrong about them."""

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
    """The field `images`, in which there must be some and may be `most`, or the field `image`."""

    reader: ImageReader
    most: int
    most_length: int
    """What the images of a request may come to for the model, in lengths of ModelInputs, and one of them by itself."""
    longest: int
    field = "images"
    noun = "images"

    def items(self, sent: MediaInput, wrong: list[Violation], *, fewest: int = 1) -> ReadMedia:
        """See MediaList."""
        items: list[Item] = []
        if not fewest <= len(sent.media) <= self.most:
            wrong.append(Violation("images", f"must hold {fewest} to {self.most} items, not {len(sent.media)}"))
            return ReadMedia(items)  # so many are not looked at
        for i, image in enumerate(sent.media):
            if i:  # the first one is most often the only one
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
        """Returns what the model reads of an image, or None and adds what is wrong to `wrong`."""
        return ImageField(self.reader, self.longest).read(image, wrong, field=field)
