"""SegmentImage in every mode that needs no prompts, through gateway and client, against transformers in float32."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation, AutoTokenizer, pipeline

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from services.engine.media.masks import mask_of
from tests.e2e.stack import RunningStack, vision_stack
from tests.services.engine.media.pictures import encoded, landscape, noise
from tests.tiny.segmenters import LABELS, THINGS, write_segmenter

Request = pb.SegmentImageRequest
SEMANTIC, INSTANCE, PANOPTIC = Request.MODE_SEMANTIC, Request.MODE_INSTANCE, Request.MODE_PANOPTIC
SUBTASKS = {SEMANTIC: "semantic", INSTANCE: "instance", PANOPTIC: "panoptic"}
PICTURES = [noise(90, 50), landscape(64, 64), noise(45, 80, seed=1)]
LOOSE = {"min_score": 0.3, "mask_threshold": 0.3, "min_visible_share": 0.3}
SCORE_TOLERANCE = 1e-4
"""Of probabilities, whatever is in the batch."""
STRAY_PIXELS = 0.005
"""Share of the image's pixels about which a mask may err: those at whose place two masks are nearly equal."""

# Random weights of which it is known that they find something.
MODELS: dict[str, dict[str, Any]] = {
    "segformer": {"noise": 0.1},
    "mobilevit": {"noise": 0.1},
    "beit": {"noise": 0.1},
    "dpt": {"noise": 0.1},
    "upernet": {"noise": 0.1},
    "maskformer": {"seed": 0},
    "mask2former": {"seed": 2},
    "oneformer": {"seed": 1},
    "detr": {"seed": 2, "noise": 0.1},
}

Found = tuple[str, float, Any]
"""Label, score and mask."""


def write(folder: Path, name: str) -> Path:
    return write_segmenter(folder / name, name, **MODELS[name])


def media(image: Image.Image) -> common.Media:
    return common.Media(data=encoded(image, "PNG"))


async def segment(stack: RunningStack, image: Image.Image, **more: Any) -> pb.SegmentImageResponse:
    return await stack.client.vision.segment_image(Request(image=media(image), **more))


def regions_of(answer: pb.SegmentImageResponse) -> list[Found]:
    size = (answer.image_size.height, answer.image_size.width)
    return [(each.label, each.score, mask_of(each.mask.run_length.run_lengths, *size)) for each in answer.segments]


def same(answer: pb.SegmentImageResponse, wanted: list[Found]) -> int:
    """Asserts that these are the regions, empty ones left out, and that they are told of truly. Returns how many."""
    found = regions_of(answer)
    left = [each for each in wanted if each[2].any()]
    assert len(found) == len(left)
    for label, score, mask in found:
        fit = [
            place
            for place, (other, near, pixels) in enumerate(left)
            if label == other and abs(score - near) < SCORE_TOLERANCE and (mask != pixels).mean() <= STRAY_PIXELS
        ]
        assert fit, f"no region {label} with {score}"
        del left[fit[0]]
    for (_, _, mask), each in zip(found, answer.segments, strict=True):
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (each.box.x_min, each.box.y_min, each.box.x_max, each.box.y_max) == box
        assert each.pixel_count == mask.sum()
        assert LABELS[each.label_index] == each.label
    return len(found)


class Reference:
    """Transformers' pipeline."""

    def __init__(self, folder: Path, name: str) -> None:
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        more = {"tokenizer": AutoTokenizer.from_pretrained(folder)} if name == "oneformer" else {}
        self._name = name
        self._pipeline: Any = pipeline(
            "image-segmentation", model=str(folder), image_processor=processor, dtype=torch.float32, **more
        )

    def regions(self, image: Image.Image, mode: Any, score: float = 0.3, mask: float = 0.3, share: float = 0.3) -> Any:
        found = self._pipeline(
            image, subtask=SUBTASKS[mode], threshold=score, mask_threshold=mask, overlap_mask_area_threshold=share
        )
        whole = [(each["label"], each["score"] or 0.0, np.asarray(each["mask"]) > 0) for each in found]
        return self._joined(whole) if self._name == "oneformer" and mode == PANOPTIC else whole

    def _joined(self, found: list[Found]) -> list[Found]:
        """Puts together what its files say is background, which the pipeline leaves apart."""
        joined: dict[str, Found] = {}
        for i, (label, score, mask) in enumerate(found):
            key = str(i) if LABELS.index(label) in THINGS else label
            before = joined.get(key, (label, 0.0, np.zeros_like(mask)))
            joined[key] = (label, max(score, before[1]), mask | before[2])
        return list(joined.values())


@pytest.mark.usefixtures("resizing_without_torchvision")
@pytest.mark.parametrize(
    ("name", "modes"),
    [
        ("segformer", [SEMANTIC]),
        ("mobilevit", [SEMANTIC]),
        ("beit", [SEMANTIC]),
        ("dpt", [SEMANTIC]),
        ("upernet", [SEMANTIC]),
        ("maskformer", [PANOPTIC, SEMANTIC]),
        ("mask2former", [PANOPTIC, SEMANTIC]),
        ("oneformer", [PANOPTIC, INSTANCE, SEMANTIC]),
        ("detr", [PANOPTIC, INSTANCE, SEMANTIC]),
    ],
)
async def test_regions_are_the_pipelines(tmp_path: Path, name: str, modes: list[Any]) -> None:
    folder = write(tmp_path, name)
    reference = Reference(folder, name)
    async with vision_stack(folder) as stack:
        for mode in modes:
            options = {} if mode == SEMANTIC else LOOSE
            # Beside each other: whatever shares a batch changes nothing.
            answers = await asyncio.gather(*(segment(stack, image, mode=mode, **options) for image in PICTURES))
            found = 0
            for image, answer in zip(PICTURES, answers, strict=True):
                found += same(answer, reference.regions(image, mode))
                assert answer.mode == mode
                assert (answer.image_size.width, answer.image_size.height) == image.size
                assert all(each.HasField("score") == (mode != SEMANTIC) for each in answer.segments)
                order = [each.label_index if mode == SEMANTIC else -each.score for each in answer.segments]
                assert order == sorted(order)
            assert found >= len(PICTURES)
        assert answers[0].usage.image_count == 1
        # What is done unless it is said.
        answer = await segment(stack, PICTURES[0])
        assert answer.mode == modes[0]
        same(answer, reference.regions(PICTURES[0], modes[0], 0.5, 0.5, 0.8))
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_SEGMENT_IMAGE]
        assert list(info.labels) == LABELS


@pytest.mark.parametrize("name", ["maskformer", "mask2former"])
async def test_instances_may_lie_over_each_other(tmp_path: Path, name: str) -> None:
    """The pipeline cuts them where they do; the processor can give them whole."""
    folder = write(tmp_path, name)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    async with vision_stack(folder) as stack:
        found, covered = 0, 0
        for image in PICTURES:
            with torch.inference_mode():
                output = model(**processor(images=image, return_tensors="pt"))
            (whole,) = processor.post_process_instance_segmentation(
                output, threshold=0.3, target_sizes=[image.size[::-1]], return_binary_maps=True
            )
            masks = np.asarray(whole["segmentation"], dtype=bool)
            wanted = [(LABELS[each["label_id"]], each["score"]) for each in whole["segments_info"]]
            answer = await segment(stack, image, mode=INSTANCE, min_score=0.3)
            found += same(answer, [(*each, masks[i]) for i, each in enumerate(wanted)])
            covered += int((masks.sum(0) > 1).sum())
        assert found > 5
        assert covered > 0


async def test_masks_travel_as_it_was_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path, "segformer")
    async with vision_stack(folder) as stack:
        run_lengths, png, none = [
            await segment(stack, PICTURES[0], mask_format=wanted)
            for wanted in (Request.MASK_FORMAT_RUN_LENGTH, Request.MASK_FORMAT_PNG, Request.MASK_FORMAT_NONE)
        ]
        masks = [mask for _, _, mask in regions_of(run_lengths)]
        assert np.array_equal(np.sum(masks, axis=0), np.ones((50, 90)))
        for mask, as_png, without in zip(masks, png.segments, none.segments, strict=True):
            image = Image.open(BytesIO(as_png.mask.png))
            assert image.mode == "1"
            assert np.array_equal(np.asarray(image), mask)
            assert not without.HasField("mask")
            assert without.box == as_png.box
            assert without.pixel_count == mask.sum()


async def test_awkward_images_are_divided(tmp_path: Path) -> None:
    folder = write(tmp_path, "mask2former")
    async with vision_stack(folder) as stack:
        for image in (Image.new("RGB", (1, 1)), noise(3, 900), noise(900, 3), noise(60, 40).convert("LA")):
            for mode in (SEMANTIC, INSTANCE, PANOPTIC):
                answer = await segment(stack, image, mode=mode, **({"min_score": 0.0} if mode != SEMANTIC else {}))
                assert (answer.image_size.width, answer.image_size.height) == image.size
                if mode == SEMANTIC:
                    assert sum(each.pixel_count for each in answer.segments) == image.width * image.height


async def test_all_that_is_wrong_is_told_at_once_and_harms_nobody(tmp_path: Path) -> None:
    folder = write(tmp_path, "segformer")
    async with vision_stack(folder, message_bytes=20_000) as stack:

        async def violations(**request: Any) -> dict[str, str]:
            with pytest.raises(InvalidArgument) as caught:
                await stack.client.vision.segment_image(Request(**request))
            return {violation.field: violation.description for violation in caught.value.violations}

        good, found, again = await asyncio.gather(
            segment(stack, landscape(8, 8)),
            violations(
                image=common.Media(data=b"no image"), mode=PANOPTIC, all_candidates=True, min_score=1.5,
                prompts=[Request.RegionPrompt(points=[Request.PointPrompt(x=1, y=1)])], mask_threshold=-0.1,
                min_visible_share=float("nan"), mask_format=99,
            ),
            segment(stack, landscape(8, 8)),
        )  # fmt: skip
        assert list(found) == [
            "mask_format", "min_score", "mask_threshold", "min_visible_share", "mode", "prompts", "all_candidates",
            "image",
        ]  # fmt: skip
        assert found["mode"] == "is MODE_PANOPTIC, and this model can do MODE_SEMANTIC"
        assert good.segments == again.segments
        assert list(await violations(image=media(PICTURES[0]), min_visible_share=0.5)) == ["min_visible_share"]
        assert list(await violations()) == ["image"]
