"""The verb SegmentImage for models that segment the whole image, without prompts."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.models import SegmentationModel
from services.engine.segmentation.panoptic import Thresholds
from services.vision.image_list import ImageList
from services.vision.large_images import make_pixels
from services.vision.segmentation.ask import SegmentAsk, SegmentedImage
from services.vision.segmentation.encoded_regions import encoded_regions

_WITH_VISIBLE_SHARE = (SegmentationMode.INSTANCE, SegmentationMode.PANOPTIC)


class ImageSegmenter:
    """Segments one image of a request."""

    def __init__(
        self,
        pipeline: Pipeline,
        model: SegmentationModel,
        images: ImageList,
        names: Mapping[int, str],
        most_bytes: int,
    ) -> None:
        """`names` are the model's labels by index; `most_bytes` is the most that a response's masks may take."""
        self._pipeline = pipeline
        self._model = model
        self._images = images
        self._names = names
        self._most_bytes = most_bytes

    async def segment(self, ask: SegmentAsk) -> Answer[SegmentedImage]:
        """Returns the regions of the image.

        Raises:
            InvalidArgument: the image or an option is invalid, the model does not support the mode, or the masks do not
                fit into a response message.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: SegmentAsk) -> Prepared[SegmentedImage]:
        mode = ask.mode or self._model.modes[0]
        wrong = [*ask.input.violations, *wrong_thresholds(ask, mode), *self._wrong_mode(ask, mode)]
        (sent,) = ask.input.media
        image = self._images.read_one(sent, wrong)
        if wrong or image is None:
            raise InvalidArgument(wrong)
        size = (image.height, image.width)
        inputs = self._model.inputs(image, mode)
        thresholds = Thresholds(
            score=Thresholds.score if ask.min_score is None else ask.min_score,
            mask=Thresholds.mask if ask.mask_threshold is None else ask.mask_threshold,
            visible_share=Thresholds.visible_share if ask.min_visible_share is None else ask.min_visible_share,
        )

        @torch.inference_mode()
        def finish(outputs: Sequence[dict[str, Tensor]]) -> SegmentedImage:
            make_pixels(image.width, image.height)
            regions = self._model.regions(outputs[0], mode, size, thresholds)
            found = encoded_regions(regions, self._names, ask.mask_format, self._most_bytes)
            return SegmentedImage(found, mode, width=image.width, height=image.height)

        return Prepared([Item(inputs, inputs.length, inputs.kind)], finish, images=1)

    def _wrong_mode(self, ask: SegmentAsk, mode: SegmentationMode) -> list[Violation]:
        wrong: list[Violation] = []
        modes = self._model.modes
        if mode not in modes:
            known = ", ".join(f"MODE_{each.name}" for each in modes)
            wrong.append(Violation("mode", f"is MODE_{mode.name}, and this model can do {known}"))
        if ask.prompts:
            wrong.append(
                Violation("prompts", "are for models that segment what prompts mark; this one segments the whole image")
            )
        if ask.all_candidates:
            wrong.append(Violation("all_candidates", "is only used with `prompts`"))
        return wrong


def wrong_thresholds(ask: SegmentAsk, mode: SegmentationMode) -> list[Violation]:
    """Returns the violations of the thresholds that do not depend on the model."""
    thresholds = {
        "min_score": ask.min_score,
        "mask_threshold": ask.mask_threshold,
        "min_visible_share": ask.min_visible_share,
    }
    wrong = [
        Violation(name, f"must be in [0, 1], not {value:g}")
        for name, value in thresholds.items()
        if value is not None and not 0 <= value <= 1
    ]
    if ask.min_visible_share is not None and mode not in _WITH_VISIBLE_SHARE:
        wrong.append(Violation("min_visible_share", "is only used with MODE_INSTANCE and MODE_PANOPTIC"))
    return wrong
