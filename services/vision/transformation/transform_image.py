"""The verb TransformImage."""

from collections.abc import Sequence
from typing import Any

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.images.reader import ImageInputs
from services.engine.images.transformation import Transformation
from services.engine.media.output_image import DEFAULT_TYPE, check_output_size, check_output_type, encode_image
from services.engine.media.refusal import ImageRefused
from services.vision.image_list import ImageList
from services.vision.large_images import make_pixels
from services.vision.room import Room
from services.vision.transformation.ask import NewImage, TransformAsk


class ImageTransformer:
    """Makes a new image from the image of a request."""

    def __init__(self, pipeline: Pipeline, transformation: Transformation, images: ImageList, room: Room) -> None:
        self._pipeline = pipeline
        self._transformation = transformation
        self._images = images
        self._room = room

    async def transform(self, ask: TransformAsk) -> Answer[NewImage]:
        """Returns the new image, encoded as the request asks.

        Raises:
            InvalidArgument: the image or an option is invalid, or the new image does not fit into a response message.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: TransformAsk) -> Prepared[NewImage]:
        wrong = [*ask.input.violations]
        wanted = DEFAULT_TYPE if ask.media_type is None else ask.media_type
        image = self._images.read_one(ask.input.media[0], wrong)
        scale = self._transformation.scale
        try:
            if image is not None:
                self._transformation.check_sides(image)
        except ImageRefused as error:
            wrong.append(Violation("image", str(error)))
        try:
            wanted = check_output_type(wanted)
            if image is not None:
                check_output_size(wanted, image.width * scale, image.height * scale)
        except ImageRefused as error:
            wrong.append(Violation("output_mime_type", str(error)))
        if wrong or image is None:
            raise InvalidArgument(wrong)
        items = [Item(image, image.length, image.kind)]
        return Prepared(items, lambda outputs: self._encoded(outputs, image, wanted), images=1)

    def _encoded(self, outputs: Sequence[Any], image: ImageInputs, media_type: str) -> NewImage:
        make_pixels(image.width * self._transformation.scale, image.height * self._transformation.scale)
        pixels = self._transformation.of(outputs[0], image)
        data = self._room.check(
            encode_image(pixels, media_type), "ask for image/jpeg or image/webp, or send it smaller"
        )
        height, width, _ = pixels.shape
        return NewImage(data, media_type, width, height)
