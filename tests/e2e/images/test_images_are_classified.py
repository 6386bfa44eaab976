"""ClassifyImage by the model's own labels, through gateway and client, against transformers' pipeline in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from tests.drawn import drawn
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, vision_stack
from tests.tiny.vision_models import write_vision_model

LABELS = ["cat", "dog", "bird", "fish", "horse", "cow"]
TOLERANCE = 2e-5
"""Of probabilities and of logits of about 1, whatever is in the batch."""


def write(folder: Path, name: str, labels: list[str] = LABELS, **config: Any) -> Path:
    return write_vision_model(folder, name, AutoModelForImageClassification, id2label=dict(enumerate(labels)), **config)


def by_pipeline(folder: Path) -> Any:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return pipeline("image-classification", model=str(folder), image_processor=processor, dtype=torch.float32)


async def classify(stack: RunningStack, *images: Image, **more: Any) -> pb.ClassifyImageResponse:
    return await stack.client.vision.classify_image(pb.ClassifyImageRequest(images=map(media, images), **more))


@pytest.mark.parametrize("name", drawn(["vit", "beit", "swin", "resnet", "convnext", "dinov2"], 3))
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


async def test_scores_are_made_as_asked(tmp_path: Path) -> None:
    folder = write(tmp_path / "vit", "vit")
    ask = by_pipeline(folder)

    def expected(function: str) -> list[dict[str, float]]:
        found = (ask(image, top_k=len(LABELS), function_to_apply=function) for image in PICTURES)
        return [{label["label"]: label["score"] for label in labels} for labels in found]

    async with vision_stack(folder) as stack:
        for function, options in {
            "softmax": {},
            "sigmoid": {"multi_label": True},
            "none": {"raw_scores": True},
        }.items():
            answer = await classify(stack, *PICTURES, **options)
            for wanted, found in zip(expected(function), answer.results, strict=True):
                scores = [label.score for label in found.labels]
                assert scores == sorted(scores, reverse=True)
                np.testing.assert_allclose(scores, [wanted[label.label] for label in found.labels], atol=TOLERANCE)
        best = await classify(stack, *PICTURES, top_k=2)
        assert [len(result.labels) for result in best.results] == [2] * len(PICTURES)
        more = await classify(stack, *PICTURES, top_k=99)
        assert [len(result.labels) for result in more.results] == [len(LABELS)] * len(PICTURES)


@pytest.mark.parametrize(
    ("labels", "problem", "function"),
    [
        (LABELS, "multi_label_classification", "sigmoid"),
        (LABELS, "regression", "none"),
        (["hot dog"], None, "sigmoid"),
    ],
)
async def test_scores_are_what_the_model_was_trained_for(
    tmp_path: Path, labels: list[str], problem: str | None, function: str
) -> None:
    folder = write(tmp_path / "resnet", "resnet", labels, problem_type=problem)
    wanted = by_pipeline(folder)(PICTURES[0], top_k=9)
    assert wanted == by_pipeline(folder)(PICTURES[0], top_k=9, function_to_apply=function)
    async with vision_stack(folder) as stack:
        answer = await classify(stack, PICTURES[0])
        assert [label.label for label in answer.results[0].labels] == [label["label"] for label in wanted]
        np.testing.assert_allclose(
            [label.score for label in answer.results[0].labels], [label["score"] for label in wanted], atol=TOLERANCE
        )


async def test_a_model_with_labels_of_its_own_refuses_others(tmp_path: Path) -> None:
    async with vision_stack(write(tmp_path / "vit", "vit", problem_type="regression")) as stack:
        with pytest.raises(TaskNotSupported, match="ClassifyImage by labels in the request"):
            await classify(stack, PICTURES[0], labels=["a fox"])
        with pytest.raises(InvalidArgument) as caught:
            await classify(stack, PICTURES[0], hypothesis_template="a {}", multi_label=True, top_k=0)
        fields = [violation.field for violation in caught.value.violations]
        assert fields == ["top_k", "hypothesis_template", "multi_label"]
        with pytest.raises(TaskNotSupported):
            await stack.client.vision.embed_image(pb.EmbedImageRequest(images=[media(PICTURES[0])]))
