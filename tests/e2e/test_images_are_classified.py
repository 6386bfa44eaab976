"""ClassifyImage by the model's own labels, through gateway and client, against transformers' pipeline in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from tests.e2e.stack import RunningStack, vision_stack
from tests.services.engine.media.pictures import encoded, landscape, noise
from tests.tiny_vision_models import write_vision_model

LABELS = ["cat", "dog", "bird", "fish", "horse", "cow"]
PICTURES = [noise(40, 30), landscape(64, 64), noise(31, 90, seed=1), landscape(200, 50)]
TOLERANCE = 2e-5
"""Of probabilities and of logits of about 1, whatever is in the batch."""


def media(image: Image) -> common.Media:
    return common.Media(data=encoded(image, "PNG"))


def write(folder: Path, name: str, labels: list[str] = LABELS, **config: Any) -> Path:
    return write_vision_model(folder, name, AutoModelForImageClassification, id2label=dict(enumerate(labels)), **config)


def by_pipeline(folder: Path) -> Any:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return pipeline("image-classification", model=str(folder), image_processor=processor, dtype=torch.float32)


async def classify(stack: RunningStack, *images: Image, **more: Any) -> pb.ClassifyImageResponse:
    return await stack.client.vision.classify_image(pb.ClassifyImageRequest(images=map(media, images), **more))


@pytest.mark.parametrize("name", ["vit", "beit", "swin", "resnet", "convnext", "dinov2"])
async def test_labels_are_the_pipelines(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / name, name)
    expected = [by_pipeline(folder)(image, top_k=len(LABELS)) for image in PICTURES]
    async with vision_stack(folder) as stack:
        answer = await classify(stack, *PICTURES)
        for wanted, found in zip(expected, answer.results, strict=True):
            assert [label.label for label in found.labels] == [label["label"] for label in wanted]
            np.testing.assert_allclose(
                [label.score for label in found.labels], [label["score"] for label in wanted], atol=TOLERANCE
            )
            assert all(LABELS[label.index] == label.label for label in found.labels)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_CLASSIFY_IMAGE]
        assert list(info.labels) == LABELS
        assert (info.limits.media_bytes, info.limits.image_pixel_count) == (16 << 20, 36_000_000)
        assert answer.usage.image_count == len(PICTURES)
        assert answer.timing.total.ToNanoseconds() > answer.timing.compute.ToNanoseconds() > 0
