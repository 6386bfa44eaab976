"""TransformImage through gateway and client, against transformers' model called by hand in float32."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageToImage

from sensorium import InvalidArgument
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from services.vision import workbench
from tests.e2e.pictures import media
from tests.e2e.stack import RunningStack, vision_stack
from tests.own_models import own
from tests.services.engine.media.pictures import landscape, noise
from tests.tiny.vision_models import write_vision_model

SETTINGS: dict[str, dict[str, Any]] = {
    "classical x2": {"upscale": 2, "upsampler": "pixelshuffle"},
    "real-world x4": {"upscale": 4, "upsampler": "nearest+conv"},
    "lightweight x3": {"upscale": 3, "upsampler": "pixelshuffledirect"},
    "compressed x2": {"upscale": 2, "upsampler": "pixelshuffle_aux"},
    "artefacts x1": {"upscale": 1, "upsampler": ""},
}


@pytest.fixture(autouse=True)
def _small_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are tried out at load with a smaller image: what that takes grows with its pixels."""
    monkeypatch.setattr(workbench, "_TEST_SIZE", (24, 16))


def by_hand(folder: Path, image: Image.Image, scale: int) -> np.ndarray[Any, Any]:
    """Returns the new image, `[height, width, 3]`, as the model's documentation makes it, without the padding."""
    model = own(AutoModelForImageToImage, folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        made = model(**processor(images=image, return_tensors="pt")).reconstruction[0].clamp(0, 1).numpy()
    pixels = (np.moveaxis(made, 0, -1) * 255.0).round().astype(np.uint8)
    return pixels[: image.height * scale, : image.width * scale]


async def transform(stack: RunningStack, image: Image.Image, **more: Any) -> pb.TransformImageResponse:
    return await stack.client.vision.transform_image(pb.TransformImageRequest(image=media(image), **more))


@pytest.mark.parametrize("name", SETTINGS)
async def test_pixels_are_the_models(tmp_path: Path, name: str) -> None:
    scale = SETTINGS[name]["upscale"]
    folder = write_vision_model(tmp_path / "swin2sr", "swin2sr", AutoModelForImageToImage, **SETTINGS[name])
    async with vision_stack(folder) as stack:
        for image in (noise(17, 14), landscape(31, 9), noise(1, 1), noise(8, 16)):
            answer = await transform(stack, image)
            with Image.open(BytesIO(answer.image.data)) as found:
                assert (found.format, answer.image.mime_type) == ("PNG", "image/png")
                assert found.size == (image.width * scale, image.height * scale)
                assert found.size == (answer.image_size.width, answer.image_size.height)
                difference = np.abs(np.asarray(found).astype(int) - by_hand(folder, image, scale))
            # What lies on the border between two values may fall to either.
            assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_TRANSFORM_IMAGE]
        assert info.limits.image_pixel_count == 1_000_000


async def test_the_type_is_the_callers(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "swin2sr", "swin2sr", AutoModelForImageToImage, upscale=2)
    async with vision_stack(folder, message_bytes=1 << 15) as stack:
        for mime_type, kind in {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}.items():
            answer = await transform(stack, landscape(40, 20), output_mime_type=mime_type)
            with Image.open(BytesIO(answer.image.data)) as found:
                assert (found.format, found.size, answer.image.mime_type) == (kind, (80, 40), mime_type)
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.vision.transform_image(pb.TransformImageRequest(output_mime_type="image/gif"))
        assert {violation.field for violation in caught.value.violations} == {"output_mime_type", "image"}
        with pytest.raises(InvalidArgument, match="output_mime_type: holds at most 16383 pixels a side"):
            await transform(stack, Image.new("RGB", (9000, 1)), output_mime_type="image/webp")
        with pytest.raises(InvalidArgument, match=r"image: has a result of .* ask for image/jpeg"):
            await transform(stack, noise(100, 80))
