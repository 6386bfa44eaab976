"""DetectObjects by the model's own classes, through gateway and client, against transformers' pipeline in float32."""

import asyncio
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection, pipeline

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from tests.e2e.stack import RunningStack, vision_stack
from tests.own_models import own
from tests.services.engine.media.pictures import encoded, landscape, noise
from tests.tiny.detectors import LABELS, NAMES, write_detector

PICTURES = [noise(90, 50), landscape(64, 64), noise(45, 80, seed=1), noise(90, 50, seed=2), landscape(200, 50)]
SCORE_TOLERANCE = 1e-4
"""Of probabilities, whatever is in the batch."""
BOX_TOLERANCE = 1e-4
"""Of the longer side of the image."""

_UNSURE = {"rf_detr": 0.01}
"""Models that begin with small scores, and what is enough of them."""

Found = tuple[float, str, tuple[float, float, float, float]]


def media(image: Image.Image) -> common.Media:
    return common.Media(data=encoded(image, "PNG"))


def objects_of(answer: pb.DetectObjectsResponse.DetectedObjectList) -> list[Found]:
    return [
        (found.label.score, found.label.label, (found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max))
        for found in answer.objects
    ]


def cut(found: Found, image: Image.Image) -> Found | None:
    """Returns what is left of an object inside the image, or None."""
    score, label, (x_min, y_min, x_max, y_max) = found
    box = (max(x_min, 0), max(y_min, 0), min(x_max, image.width), min(y_max, image.height))
    return (score, label, box) if box[0] < box[2] and box[1] < box[3] else None


def same(found: Sequence[Found], wanted: Sequence[Found], image: Image.Image) -> None:
    """Asserts that the same objects were found, the highest score first; nearly equal ones in any order."""
    assert len(found) == len(wanted)
    scores = [score for score, _, _ in found]
    assert scores == sorted(scores, reverse=True)
    reach = BOX_TOLERANCE * max(image.size)
    left = list(wanted)
    for score, label, box in found:
        (match, *_) = [
            each
            for each in left
            if each[1] == label
            and abs(each[0] - score) < SCORE_TOLERANCE
            and all(abs(a - b) < reach for a, b in zip(each[2], box, strict=True))
        ] or [None]
        assert match is not None, f"{score} {label} {box} is not among {left}"
        left.remove(match)


@cache
def own_processor(folder: Path) -> Any:
    return AutoImageProcessor.from_pretrained(folder, backend="pil")


def by_hand(folder: Path, image: Image.Image, threshold: float) -> list[Found]:
    """Returns the objects of one image alone, by the model and its processor."""
    processor = own_processor(folder)
    model = own(AutoModelForObjectDetection, folder)
    with torch.inference_mode():
        output = model(**processor(images=image, return_tensors="pt"))
    (found,) = processor.post_process_object_detection(output, threshold, target_sizes=[image.size[::-1]])
    boxes = [tuple(box) for box in found["boxes"].tolist()]
    whole = zip(found["scores"].tolist(), [LABELS[i] for i in found["labels"]], boxes, strict=True)
    return [each for each in (cut(found, image) for found in whole) if each is not None]


async def detect(stack: RunningStack, *images: Image.Image, **more: Any) -> pb.DetectObjectsResponse:
    return await stack.client.vision.detect_objects(pb.DetectObjectsRequest(images=map(media, images), **more))


@pytest.mark.parametrize("name", NAMES)
async def test_objects_are_the_models_own(tmp_path: Path, name: str) -> None:
    folder = write_detector(tmp_path / name, name)
    least = _UNSURE.get(name, 0.4)
    expected = [by_hand(folder, image, least) for image in PICTURES]
    assert sum(map(len, expected)) > 10
    async with vision_stack(folder) as stack:
        # All together and beside each other: whatever shares a batch changes nothing.
        together, *alone = await asyncio.gather(
            detect(stack, *PICTURES, min_score=least), *(detect(stack, image, min_score=least) for image in PICTURES)
        )
        for image, wanted, found, single in zip(PICTURES, expected, together.results, alone, strict=True):
            same(objects_of(found), wanted, image)
            same(objects_of(single.results[0]), wanted, image)
            assert (found.image_size.width, found.image_size.height) == image.size
            assert all(LABELS[each.label.index] == each.label.label for each in found.objects)
        assert together.usage.image_count == len(PICTURES)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_DETECT_OBJECTS]
        assert list(info.labels) == LABELS
        assert together.model.revision == info.identity.revision


@pytest.mark.parametrize("name", ["rt_detr", "yolos"])
async def test_objects_are_the_pipelines(tmp_path: Path, name: str) -> None:
    """Whose boxes are cut to whole numbers, and not to the image."""
    folder = write_detector(tmp_path / name, name)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    reference = pipeline("object-detection", model=str(folder), image_processor=processor, dtype=torch.float32)
    async with vision_stack(folder) as stack:
        for image in PICTURES:
            found = objects_of((await detect(stack, image)).results[0])
            whole = [
                (each["score"], each["label"], tuple(map(float, each["box"].values()))) for each in reference(image)
            ]
            inside = [each for each in (cut(wanted, image) for wanted in whole) if each is not None]
            assert len(whole) >= len(found) >= len(inside) > 0  # what is less than a pixel wide has no whole numbers
            for score, label, box in inside:
                assert any(
                    label == other
                    and abs(score - near) < SCORE_TOLERANCE
                    and all(abs(a - b) <= 1 for a, b in zip(box, sides, strict=True))
                    for near, other, sides in found
                )


async def test_scores_and_numbers_limit_what_is_found(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "yolos", "yolos")
    image = PICTURES[0]
    async with vision_stack(folder) as stack:
        everything = objects_of((await detect(stack, image, min_score=0.0)).results[0])
        same(everything, by_hand(folder, image, -1.0), image)
        assert objects_of((await detect(stack, image, min_score=0.0, top_k=3)).results[0]) == everything[:3]
        # A score that is reached exactly is enough.
        least = everything[4][0]
        assert objects_of((await detect(stack, image, min_score=least)).results[0]) == everything[:5]
        assert not (await detect(stack, image, min_score=1.0)).results[0].objects


async def test_awkward_images_are_searched_or_refused(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "rt_detr", "rt_detr")
    grey = noise(60, 40).convert("L")
    glass = noise(60, 40).convert("RGBA")
    async with vision_stack(folder) as stack:
        for image in (Image.new("RGB", (1, 1), (250, 10, 10)), noise(3, 900), noise(900, 3), grey, glass):
            (found,) = (await detect(stack, image, min_score=0.1)).results
            assert found.objects
            for each in found.objects:
                assert 0 <= each.box.x_min <= each.box.x_max <= image.width
                assert 0 <= each.box.y_min <= each.box.y_max <= image.height
        same(
            objects_of((await detect(stack, grey, min_score=0.1)).results[0]),
            by_hand(folder, grey.convert("RGB"), 0.1),
            grey,
        )


async def test_all_that_is_wrong_is_told_at_once_and_harms_nobody(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "yolos", "yolos")
    async with vision_stack(folder) as stack:
        request = pb.DetectObjectsRequest(
            images=[media(PICTURES[0]), common.Media(data=b"no image"), common.Media(uri="file:///etc/passwd")],
            min_score=1.5,
            top_k=0,
        )

        async def refused() -> list[str]:
            with pytest.raises(InvalidArgument) as caught:
                await stack.client.vision.detect_objects(request)
            return [violation.field for violation in caught.value.violations]

        good, fields, again = await asyncio.gather(detect(stack, PICTURES[0]), refused(), detect(stack, PICTURES[0]))
        assert fields == ["min_score", "top_k", "images[1]", "images[2]"]
        assert good.results == again.results
        with pytest.raises(TaskNotSupported, match="cannot do DetectObjects by labels in the request"):
            await detect(stack, PICTURES[0], labels=["cat"])
        with pytest.raises(InvalidArgument, match="images: must hold 1 to 256 items, not 0"):
            await detect(stack)
        with pytest.raises(InvalidArgument, match=r"images\[0\]: .* cannot be resized to what the model reads"):
            await detect(stack, noise(900, 3))
