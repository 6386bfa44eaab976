"""The verb EstimateDepth."""

from collections.abc import Sequence
from typing import Any

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.images.depth import DepthMaps
from services.engine.images.reader import ImageInputs
from services.engine.media.depth_map import depth_floats, depth_png, depth_range
from services.vision.depth.ask import Depth, DepthAsk
from services.vision.image_list import ImageList
from services.vision.large_images import make_pixels
from services.vision.room import Room

_NUMBER_BYTES = 4


class DepthEstimator:
    """Estimates the depths of one image."""

    def __init__(self, pipeline: Pipeline, maps: DepthMaps, images: ImageList, room: Room) -> None:
        self._pipeline = pipeline
        self._maps = maps
        self._images = images
        self._room = room

    async def estimate(self, ask: DepthAsk) -> Answer[Depth]:
        """Returns the depth of each pixel of the image as it was sent.

        Raises:
            InvalidArgument: the image or an option is invalid, or the depths do not fit into a response message.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: DepthAsk) -> Prepared[Depth]:
        wrong = [*ask.input.violations]
        image = self._images.read_one(ask.input.media[0], wrong)
        if image is not None and ask.as_floats and not self._room.holds(image.width * image.height * _NUMBER_BYTES):
            size = f"{image.width} × {image.height}"
            wrong.append(Violation("format", f"as numbers, {size} depths are more than a message holds; ask for PNG16"))
        if wrong or image is None:
            raise InvalidArgument(wrong)
        items = [Item(image, image.length, image.kind)]
        return Prepared(items, lambda outputs: self._depth(outputs, image, ask), images=1)

    def _depth(self, outputs: Sequence[Any], image: ImageInputs, ask: DepthAsk) -> Depth:
        make_pixels(image.width, image.height)
        depths = self._maps.of(outputs[0], image)
        least, greatest = depth_range(depths)
        if ask.as_floats:
            data, scale, offset = depth_floats(depths), 1.0, 0.0
        else:
            made = depth_png(depths)
            data, scale, offset = self._room.check(made.png, "send it smaller"), made.scale, made.offset
        return Depth(
            data=data,
            as_floats=ask.as_floats,
            scale=scale,
            offset=offset,
            least=least,
            greatest=greatest,
            kind=self._maps.kind,
            width=image.width,
            height=image.height,
        )
