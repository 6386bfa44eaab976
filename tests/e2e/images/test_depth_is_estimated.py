"""EstimateDepth through gateway and client, against transformers' pipeline in float32."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForDepthEstimation, pipeline

from sensorium import InvalidArgument
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, vision_stack
from tests.services.engine.media.pictures import noise
from tests.tiny.vision_models import write_vision_model

TOLERANCE = 5e-5
"""Of the greatest depth."""
FLOAT32 = pb.EstimateDepthRequest.DEPTH_FORMAT_FLOAT32


def by_pipeline(folder: Path) -> list[np.ndarray[Any, Any]]:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    ask: Any = pipeline("depth-estimation", model=str(folder), image_processor=processor, dtype=torch.float32)
    return [ask(image)["predicted_depth"].numpy() for image in PICTURES]


async def estimate(stack: RunningStack, image: Image.Image, **more: Any) -> pb.EstimateDepthResponse:
    return await stack.client.vision.estimate_depth(pb.EstimateDepthRequest(image=media(image), **more))


def depths(answer: pb.EstimateDepthResponse) -> np.ndarray[Any, Any]:
    """Returns `[height, width]`, as the contract says how to read it."""
    size = answer.image_size
    if answer.WhichOneof("depth") == "float32":
        return np.frombuffer(answer.float32, "<f4").reshape(size.height, size.width)
    image = Image.open(BytesIO(answer.png16))
    assert (image.mode, image.size) == ("I;16", (size.width, size.height))
    return answer.offset + answer.scale * np.asarray(image).astype(np.float64)


@pytest.mark.parametrize("name", ["dpt", "depth_anything", "glpn", "depth_pro"])
async def test_depths_are_the_pipelines(tmp_path: Path, name: str) -> None:
    folder = write_vision_model(tmp_path / name, name, AutoModelForDepthEstimation)
    expected = by_pipeline(folder)
    async with vision_stack(folder) as stack:
        for image, wanted in zip(PICTURES, expected, strict=True):
            exact, rough = await estimate(stack, image, format=FLOAT32), await estimate(stack, image)
            near = TOLERANCE * np.abs(wanted).max()
            np.testing.assert_allclose(depths(exact), wanted, atol=near)
            np.testing.assert_allclose(depths(rough), wanted, atol=near + rough.scale)
            assert (exact.scale, exact.offset) == (1, 0)
            for answer in (exact, rough):
                np.testing.assert_allclose(
                    [answer.min_depth, answer.max_depth], [wanted.min(), wanted.max()], atol=near
                )
                assert (answer.image_size.width, answer.image_size.height) == image.size
                assert answer.usage.image_count == 1
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ESTIMATE_DEPTH]


@pytest.mark.parametrize(
    ("name", "config", "kind"),
    [
        ("dpt", {}, "UNSPECIFIED"),
        ("glpn", {}, "METRIC"),
        ("depth_anything", {}, "INVERSE"),
        ("depth_anything", {"depth_estimation_type": "metric", "max_depth": 20}, "METRIC"),
    ],
)
async def test_the_kind_is_what_the_files_tell(tmp_path: Path, name: str, config: dict[str, Any], kind: str) -> None:
    folder = write_vision_model(tmp_path / name, name, AutoModelForDepthEstimation, **config)
    async with vision_stack(folder) as stack:
        answer = await estimate(stack, PICTURES[0])
        assert pb.EstimateDepthResponse.DepthKind.Name(answer.kind) == f"DEPTH_KIND_{kind}"


async def test_what_is_wrong_is_told_and_what_fits_no_message_is_refused(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "dpt", "dpt", AutoModelForDepthEstimation)
    async with vision_stack(folder, message_bytes=1 << 16) as stack:

        async def violations(**request: Any) -> dict[str, str]:
            with pytest.raises(InvalidArgument) as caught:
                await stack.client.vision.estimate_depth(pb.EstimateDepthRequest(**request))
            return {violation.field: violation.description for violation in caught.value.violations}

        assert list(await violations(format=9)) == ["format", "image"]
        large = media(Image.new("RGB", (200, 80)))
        assert "more than a message holds" in (await violations(image=large, format=FLOAT32))["format"]
        assert len((await stack.client.vision.estimate_depth(pb.EstimateDepthRequest(image=large))).png16) < 1 << 16
        one = await estimate(stack, noise(1, 1), format=FLOAT32)
        assert len(one.float32) == 4 and one.min_depth == one.max_depth
