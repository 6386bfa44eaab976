"""Converts requests and results of SegmentImage between protobuf and plain values."""

from collections.abc import Sequence

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import identified
from services.engine.batching.answer import Answer
from services.engine.segmentation.mode import SegmentationMode
from services.engine.segmentation.prompt import Prompt
from services.media_conversion import images_input
from services.vision.detection.conversion import bounding_box
from services.vision.segmentation.ask import MaskFormat, SegmentAsk, SegmentedImage, SegmentedRegion

_MODES = {
    pb.SegmentImageRequest.MODE_SEMANTIC: SegmentationMode.SEMANTIC,
    pb.SegmentImageRequest.MODE_INSTANCE: SegmentationMode.INSTANCE,
    pb.SegmentImageRequest.MODE_PANOPTIC: SegmentationMode.PANOPTIC,
    pb.SegmentImageRequest.MODE_PROMPTED: SegmentationMode.PROMPTED,
}
_NUMBERS = {mode: number for number, mode in _MODES.items()}
_CHUNK = 65_536
"""Numbers copied into a message in one call, which holds the GIL. The mask of a noisy image has millions."""
_FORMATS = {
    pb.SegmentImageRequest.MASK_FORMAT_PNG: MaskFormat.PNG,
    pb.SegmentImageRequest.MASK_FORMAT_NONE: MaskFormat.NONE,
}


def segment_ask(request: pb.SegmentImageRequest, seconds: float | None) -> SegmentAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return SegmentAsk(
        input=images_input(request, [request.image], seconds),
        mode=_MODES.get(request.mode),
        prompts=[_prompt(prompt) for prompt in request.prompts],
        all_candidates=request.all_candidates,
        mask_format=_FORMATS.get(request.mask_format, MaskFormat.RUN_LENGTH),
        min_score=request.min_score if request.HasField("min_score") else None,
        mask_threshold=request.mask_threshold if request.HasField("mask_threshold") else None,
        min_visible_share=request.min_visible_share if request.HasField("min_visible_share") else None,
    )


def _prompt(prompt: pb.SegmentImageRequest.RegionPrompt) -> Prompt:
    box = prompt.box
    return Prompt(
        points=[(point.x, point.y) for point in prompt.points],
        inside=[not point.outside for point in prompt.points],
        box=(box.x_min, box.y_min, box.x_max, box.y_max) if prompt.HasField("box") else None,
    )


def segment_response(answer: Answer[SegmentedImage], identity: common.ModelIdentity) -> pb.SegmentImageResponse:
    """Returns the response message for the regions."""
    found = answer.result
    return pb.SegmentImageResponse(
        segments=map(_segment, found.regions),
        image_size=common.ImageSize(width=found.width, height=found.height),
        mode=_NUMBERS[found.mode],
        **identified(answer, identity),
    )


def _segment(region: SegmentedRegion) -> pb.SegmentImageResponse.Segment:
    mask = None
    if region.run_lengths is not None:
        mask = pb.Mask(run_length=_run_length_mask(region.run_lengths))
    elif region.png is not None:
        mask = pb.Mask(png=region.png)
    return pb.SegmentImageResponse.Segment(
        label=region.label,
        label_index=region.label_index,
        score=region.score,
        box=bounding_box(region.box),
        pixel_count=region.pixel_count,
        mask=mask,
        prompt_index=region.prompt_index,
    )


def _run_length_mask(lengths: Sequence[int]) -> pb.RunLengthMask:
    mask = pb.RunLengthMask()
    for begin in range(0, len(lengths), _CHUNK):
        mask.run_lengths.extend(lengths[begin : begin + _CHUNK])
    return mask
