"""Images of all kinds through gateway and client: a right answer, or every one that is wrong by its place."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, vision_stack
from tests.services.engine.media.pictures import bomb, claiming, cmyk_jpeg, encoded, landscape, noise, png_16_bit
from tests.tiny.vision_models import write_vision_model

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("vit"), "vit", AutoModelForImageClassification, num_labels=5)


def by_pipeline(folder: Path, image: Image.Image) -> dict[str, float]:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    ask: Any = pipeline("image-classification", model=str(folder), image_processor=processor, dtype=torch.float32)
    return {label["label"]: label["score"] for label in ask(image.convert("RGB"), top_k=5)}


def equal(found: common.Classification, wanted: dict[str, float]) -> bool:
    return bool(np.allclose([wanted[each.label] for each in found.labels], [each.score for each in found.labels],
                            atol=TOLERANCE))  # fmt: skip


async def classify(stack: RunningStack, *images: common.Media) -> pb.ClassifyImageResponse:
    return await stack.client.vision.classify_image(pb.ClassifyImageRequest(images=images))


def wrong_images() -> dict[str, tuple[common.Media, str]]:
    return {
        "nothing": (common.Media(), "has no data"),
        "no bytes": (common.Media(data=b""), "is empty"),
        "a URI": (common.Media(uri="http://127.0.0.1/cat.png"), "is a URI, and this service fetches none"),
        "a path": (common.Media(uri="file:///etc/passwd"), "is a URI"),
        "another type": (common.Media(mime_type="image/jpeg", data=encoded(PICTURES[0], "PNG")), "is declared as"),
        "sound": (
            common.Media(mime_type="audio/wav", data=b"RIFF\0\0\0\0WAVE"),
            "accepted are PNG, JPEG, WebP and GIF",
        ),
        "another format": (common.Media(data=encoded(PICTURES[0], "TIFF")), "is a TIFF file"),
        "a text": (common.Media(data=b"a photo of a cat"), "is no known image"),
        "half a file": (common.Media(data=encoded(PICTURES[1], "JPEG")[:300]), "is cut off or damaged"),
        "100 megapixels": (common.Media(data=bomb(10_000)), "10000 × 10000 = 100000000 pixels; at most 36000000"),
        "a lie": (common.Media(data=claiming("PNG", 60_000, 60_000)), "pixels; at most 36000000"),
        "too many bytes": (common.Media(data=bytes(500_001)), "has 500001 bytes; at most 500000"),
    }


async def test_everything_wrong_is_told_by_its_place_while_others_are_answered(folder: Path) -> None:
    good, (bad, reasons) = media(PICTURES[0]), zip(*wrong_images().values(), strict=True)
    wanted = by_pipeline(folder, PICTURES[0])
    async with vision_stack(folder, media_bytes=500_000) as stack:
        answers = await asyncio.gather(
            *(classify(stack, good) for _ in range(4)),
            classify(stack, good, *bad, good),
            *(classify(stack, good) for _ in range(4)),
            return_exceptions=True,
        )
        refused = answers.pop(4)
        assert isinstance(refused, InvalidArgument)
        assert [violation.field for violation in refused.violations] == [f"images[{i + 1}]" for i in range(len(bad))]
        for violation, said in zip(refused.violations, reasons, strict=True):
            assert said in violation.description
        for answer in answers:
            assert isinstance(answer, pb.ClassifyImageResponse)
            assert equal(answer.results[0], wanted)
        assert stack.service.metric("sensorium_engine_steps_total") <= 8


async def test_every_kind_of_image_is_read_as_the_reference_reads_it(folder: Path) -> None:
    grey = landscape(50, 40).convert("L")
    alpha = landscape(50, 40).convert("RGBA")
    alpha.putalpha(grey)
    deep = np.linspace(0, 65_535, 1200, dtype=np.uint16).reshape(30, 40, 1)
    ink = cmyk_jpeg((200, 40, 90, 10))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "one pixel": (encoded(noise(1, 1), "PNG"), noise(1, 1)),
        "a line": (encoded(noise(900, 1), "PNG"), noise(900, 1)),
        "a column three wide": (encoded(noise(3, 700), "PNG"), noise(3, 700)),
        "grey": (encoded(grey, "PNG"), grey),
        "black and white": (encoded(grey.convert("1"), "PNG"), grey.convert("1")),
        "alpha": (encoded(alpha, "PNG"), alpha),
        "grey with alpha": (encoded(alpha.convert("LA"), "PNG"), alpha.convert("LA")),
        "palette": (encoded(alpha.convert("P"), "GIF"), alpha.convert("P")),
        "16 bits": (png_16_bit(deep), Image.fromarray((deep[..., 0] >> 8).astype(np.uint8))),
        "inks": (ink, Image.open(BytesIO(ink))),
        "turned": (encoded(alpha.convert("RGB"), "PNG", exif=turned), alpha.convert("RGB").rotate(-90, expand=True)),
        "webp": (encoded(noise(33, 21), "WEBP", lossless=True), noise(33, 21)),
    }
    async with vision_stack(folder) as stack:
        answer = await classify(stack, *(common.Media(data=data) for data, _ in kinds.values()))
        for (name, (_, image)), found in zip(kinds.items(), answer.results, strict=True):
            assert equal(found, by_pipeline(folder, image)), name


async def test_none_or_more_than_allowed_are_refused_and_many_are_answered(folder: Path) -> None:
    pictures = [noise(20 + i % 7, 20 + i % 5, seed=i) for i in range(300)]
    images = [media(picture) for picture in pictures]
    async with vision_stack(folder) as stack:
        for images_, count in (([], 0), (images, 300)):
            with pytest.raises(InvalidArgument, match=f"images: must hold 1 to 256 items, not {count}"):
                await classify(stack, *images_)
    async with vision_stack(folder, max_batch_items=300) as stack:
        answer = await classify(stack, *images)
        assert stack.service.metric("sensorium_engine_steps_total") < 30
        for i in range(0, 300, 37):
            assert equal(answer.results[i], by_pipeline(folder, pictures[i]))


async def test_what_would_grow_too_large_for_the_model_is_refused(tmp_path: Path, folder: Path) -> None:
    """A processor that resizes the shorter side lets the other follow, however long that becomes."""
    resnet = write_vision_model(tmp_path / "resnet", "resnet", AutoModelForImageClassification)
    # 32 pixels high, it would be a million wide.
    line = media(Image.new("RGB", (32_000, 1)))
    async with vision_stack(resnet, image_pixels=1_000_000) as stack:
        with pytest.raises(InvalidArgument, match=r"images\[0\]: is 32000 × 1 pixels; on the way to .* have 32768000"):
            await classify(stack, line)
        with pytest.raises(InvalidArgument, match=r"images\[0\]: is 1 × 32768 pixels; at most 32767 a side"):
            await classify(stack, media(Image.new("RGB", (1, 32_768))))
    async with vision_stack(folder, max_queued_images=3) as stack:
        with pytest.raises(InvalidArgument, match=r"images: come to more than may wait at once from images\[3\] on"):
            await classify(stack, *(media(PICTURES[0]) for _ in range(4)))
