"""SegmentImage by points and boxes, through gateway and client, against the model called by hand in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForMaskGeneration, AutoProcessor

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.engine.media.masks import mask_of
from tests.e2e.images.test_images_are_segmented import media, segment
from tests.e2e.stack import RunningStack, vision_stack
from tests.own_models import own
from tests.services.engine.media.pictures import landscape, noise
from tests.tiny.segmenters import write_segmenter

Request = pb.SegmentImageRequest
PICTURES = [noise(90, 50), landscape(64, 64), noise(45, 80, seed=1), noise(90, 50, seed=3)]
SCORE_TOLERANCE = 1e-4
STRAY_PIXELS = 0.005
"""Share of the image's pixels about which a mask may err, at its edge."""


def prompt(*points: tuple[float, float, bool], box: tuple[float, ...] | None = None) -> Request.RegionPrompt:
    """Returns a prompt; the third of a point says whether it lies outside."""
    made = Request.RegionPrompt(points=[Request.PointPrompt(x=x, y=y, outside=outside) for x, y, outside in points])
    if box is not None:
        x_min, y_min, x_max, y_max = box
        made.box.CopyFrom(common.BoundingBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max))
    return made


# Of unlike shape and in no order, so that what is alike has to be found.
PROMPTS = [
    prompt((20, 30, False)),
    prompt((20, 30, False), (40, 10, True)),
    prompt(box=(5, 5, 30, 40)),
    prompt((12.5, 20, False), box=(5, 5, 30, 40)),
    prompt((44, 1, True)),
    prompt(box=(0, 0, 45, 50)),
]


def by_hand(
    folder: Path, image: Image.Image, wanted: Request.RegionPrompt, cut: float = 0.0
) -> list[tuple[float, Any]]:
    """Returns score and mask of each candidate for one prompt alone, the best first."""
    processor = AutoProcessor.from_pretrained(folder)
    model = own(AutoModelForMaskGeneration, folder)
    more: dict[str, Any] = {}
    if wanted.points:
        more["input_points"] = [[[[point.x, point.y] for point in wanted.points]]]
        more["input_labels"] = [[[0 if point.outside else 1 for point in wanted.points]]]
    if wanted.HasField("box"):
        box = wanted.box
        more["input_boxes"] = [[[box.x_min, box.y_min, box.x_max, box.y_max]]]
    inputs = processor(images=image, return_tensors="pt", **more)
    with torch.inference_mode():
        output = model(**inputs)
    sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs}
    (masks,) = processor.post_process_masks(output.pred_masks, **sizes, mask_threshold=cut)
    scores = output.iou_scores[0, 0].tolist()
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [(min(max(scores[place], 0.0), 1.0), masks[0, place].numpy()) for place in order]


def same(answer: pb.SegmentImageResponse, wanted: list[tuple[int, float, Any]]) -> None:
    """Asserts that these are the regions, by prompt, score and mask, in this order and without those that are empty."""
    left = [each for each in wanted if each[2].any()]
    assert len(answer.segments) == len(left)
    for found, (place, score, mask) in zip(answer.segments, left, strict=True):
        assert found.prompt_index == place
        assert abs(found.score - score) < SCORE_TOLERANCE
        pixels = mask_of(found.mask.run_length.run_lengths, answer.image_size.height, answer.image_size.width)
        assert (pixels != mask).mean() <= STRAY_PIXELS
        assert not found.HasField("label")
        assert not found.HasField("label_index")
        assert found.pixel_count == pixels.sum()


@pytest.mark.parametrize("name", ["sam", "sam2"])
async def test_regions_are_what_the_model_makes_of_each_prompt_alone(tmp_path: Path, name: str) -> None:
    folder = write_segmenter(tmp_path / name, name, seed=1)
    async with vision_stack(folder) as stack:
        answers = await asyncio.gather(
            *(segment(stack, image, prompts=PROMPTS) for image in PICTURES),
            *(segment(stack, image, prompts=PROMPTS, all_candidates=True) for image in PICTURES),
        )
        for image, best, all_of_them in zip(PICTURES, answers[: len(PICTURES)], answers[len(PICTURES) :], strict=True):
            candidates = [by_hand(folder, image, each) for each in PROMPTS]
            same(best, [(place, *found[0]) for place, found in enumerate(candidates)])
            same(all_of_them, [(place, *each) for place, found in enumerate(candidates) for each in found])
            assert best.mode == Request.MODE_PROMPTED
            assert len({each.prompt_index for each in best.segments}) == len(PROMPTS)


async def test_scores_and_probabilities_limit_what_is_found(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "sam", "sam", seed=1)
    image = PICTURES[0]
    candidates = by_hand(folder, image, PROMPTS[0], cut=0.1)
    async with vision_stack(folder) as stack:
        sure = 1 / (1 + np.exp(-0.1))
        many = await segment(stack, image, prompts=PROMPTS[:1], all_candidates=True, mask_threshold=sure)
        same(many, [(0, *each) for each in candidates])
        assert len({each.score for each in many.segments}) > 1
        least = many.segments[0].score
        few = await segment(
            stack, image, prompts=PROMPTS[:1], all_candidates=True, mask_threshold=sure, min_score=least
        )
        assert [each.score for each in few.segments] == [least]
        whole = await segment(stack, image, prompts=PROMPTS[:1], mask_threshold=0.0)
        assert [each.pixel_count for each in whole.segments] == [image.width * image.height]
        assert not (await segment(stack, image, prompts=PROMPTS[:1], mask_threshold=1.0)).segments


async def test_many_prompts_read_the_image_once(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "sam", "sam", seed=1)
    async with vision_stack(folder) as stack:
        encoder: Any = stack.service.service._loaded.loaded.model.vision_encoder  # type: ignore[union-attr]
        batches: list[int] = []
        encoder.register_forward_pre_hook(lambda _module, args, _kwargs: batches.append(len(args[0])), with_kwargs=True)
        answer = await segment(stack, PICTURES[0], prompts=PROMPTS * 8)
        assert batches == [1]
        once = await segment(stack, PICTURES[0], prompts=PROMPTS)
        repeated = [(each.prompt_index % len(PROMPTS), each.pixel_count) for each in answer.segments]
        assert set(repeated) == {(each.prompt_index, each.pixel_count) for each in once.segments}


async def violations(stack: RunningStack, **request: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        await stack.client.vision.segment_image(Request(**request))
    return {violation.field: violation.description for violation in caught.value.violations}


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "sam", "sam", seed=1)
    async with vision_stack(folder, max_batch_items=20) as stack:
        wrong = [
            prompt(),
            prompt((90, 0, False), (3, 3, False), (3, -1, True)),
            prompt(box=(10, 10, 5, 60)),
            prompt(box=(-1, 51, 20, 50)),
            prompt((float("nan"), 0, False), box=(0, 0, 90, 0)),
        ]
        found = await violations(
            stack, image=media(PICTURES[0]), prompts=wrong, min_score=2, mode=Request.MODE_PANOPTIC
        )
        assert list(found) == [
            "min_score", "mode", "prompts[0]", "prompts[1].points[0].x", "prompts[1].points[2].y",
            "prompts[2].box.x_max", "prompts[2].box.y_max", "prompts[3].box.x_min", "prompts[3].box.y_min",
            "prompts[4].points[0].x", "prompts[4].box.y_max",
        ]  # fmt: skip
        assert found["prompts[1].points[0].x"] == "must be in [0, 90), not 90"
        assert found["prompts[2].box.x_max"] == "must be in [10, 90], not 5"
        # Of an image that cannot be read nothing is known.
        found = await violations(stack, image=common.Media(data=b"?"), prompts=[prompt((-1, 9999, False))])
        assert list(found) == ["image", "prompts[0].points[0].x"]
        assert list(await violations(stack, image=media(PICTURES[0]))) == ["prompts"]
        assert list(await violations(stack, image=media(PICTURES[0]), prompts=PROMPTS * 4)) == ["prompts"]
        many = [PROMPTS[0], prompt(*[(1, 1, False)] * 21), prompt()]
        assert await violations(stack, image=media(PICTURES[0]), prompts=many) == {
            "prompts[1].points": "must hold at most 20 items, not 21",
            "prompts[2]": "must have at least one point or a box",
        }
        assert list(await violations(stack, image=media(PICTURES[0]), prompts=PROMPTS, min_visible_share=0.5)) == [
            "min_visible_share"
        ]
        answer = await segment(stack, Image.new("RGB", (1, 1)), prompts=[prompt((0, 0, False))], mask_threshold=0.0)
        assert [each.pixel_count for each in answer.segments] == [1]
