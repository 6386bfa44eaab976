"""The verb SegmentImage for models prompted with points and boxes, such as SAM."""

from collections.abc import Sequence
from typing import Any

import torch

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.prompts import PromptedInputs, prompted_regions
from services.vision.image_list import ImageList
from services.vision.large_images import make_pixels
from services.vision.segmentation.ask import SegmentAsk, SegmentedImage
from services.vision.segmentation.encoded_regions import encoded_regions
from services.vision.segmentation.prompt_checks import wrong_prompts
from services.vision.segmentation.segment_image import wrong_thresholds

_MODE = SegmentationMode.PROMPTED


class PromptedSegmenter:
    """Segments the regions that the points and boxes of a request mark."""

    def __init__(self, pipeline: Pipeline, processor: Any, images: ImageList, most_bytes: int) -> None:
        """`most_bytes` is the most that a response's masks may take."""
        self._pipeline = pipeline
        self._processor = processor
        self._images = images
        self._most_bytes = most_bytes

    async def segment(self, ask: SegmentAsk) -> Answer[SegmentedImage]:
        """Returns the best region for each prompt, or all candidates if the request asks for them.

        Raises:
            InvalidArgument: the image, a prompt or an option is invalid, the mode is not MODE_PROMPTED, or the masks do
                not fit into a response message.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: SegmentAsk) -> Prepared[SegmentedImage]:
        wrong = [*ask.input.violations, *wrong_thresholds(ask, _MODE)]
        if ask.mode not in (None, _MODE):
            wrong.append(Violation("mode", f"is MODE_{ask.mode.name}, and this model can do MODE_PROMPTED"))
        if not ask.prompts:
            wrong.append(Violation("prompts", "must hold at least one: this model segments only what prompts mark"))
        (sent,) = ask.input.media
        image = self._images.read_one(sent, wrong)
        size = None if image is None else (image.height, image.width)
        wrong += wrong_prompts(ask.prompts, self._images.most, size)
        if wrong or image is None or size is None:
            raise InvalidArgument(wrong)
        inputs = PromptedInputs(image.tensors, ask.prompts, size, ask.all_candidates)
        min_score = 0.0 if ask.min_score is None else ask.min_score
        threshold = 0.5 if ask.mask_threshold is None else ask.mask_threshold

        @torch.inference_mode()
        def finish(outputs: Sequence[Any]) -> SegmentedImage:
            make_pixels(image.width, image.height)
            regions = prompted_regions(self._processor, outputs[0], inputs, min_score, threshold)
            found = encoded_regions(regions, {}, ask.mask_format, self._most_bytes)
            return SegmentedImage(found, _MODE, width=image.width, height=image.height)

        return Prepared([Item(inputs, inputs.length, inputs.kind)], finish, images=1)
