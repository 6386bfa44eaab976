"""ClassifyImage by labels in the request, through gateway and client, against transformers' pipeline in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, pipeline

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from tests.drawn import drawn
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, vision_stack
from tests.own_models import own
from tests.tiny.encoders import CONTEXT
from tests.tiny.joint_models import write_joint_model

LABELS = ["fox", "lazy dog", "program", "model that reads a text and answers at once"]
TOLERANCE = 5e-5
"""Of probabilities, whatever is in the batch; of logits times their scale."""


def by_pipeline(folder: Path) -> Any:
    return pipeline(
        "zero-shot-image-classification",
        model=str(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"),
        dtype=torch.float32,
    )


def logits_by_hand(folder: Path, sentences: list[str], padding: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Returns the model's own `[images, labels]`."""
    model = own(AutoModel, folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    texts = AutoTokenizer.from_pretrained(folder)(sentences, return_tensors="pt", **padding)
    with torch.inference_mode():
        rows = [
            model(**processor(images=image, return_tensors="pt"), **texts).logits_per_image[0] for image in PICTURES
        ]
    return torch.stack(rows).numpy()


async def classify(stack: RunningStack, images: list[Image] = PICTURES, **more: Any) -> pb.ClassifyImageResponse:
    return await stack.client.vision.classify_image(pb.ClassifyImageRequest(images=map(media, images), **more))


def by_index(answer: pb.ClassifyImageResponse) -> np.ndarray[Any, Any]:
    """Returns the scores `[images, labels]` in the order of the labels."""
    rows = [sorted(result.labels, key=lambda label: label.index) for result in answer.results]
    return np.array([[label.score for label in row] for row in rows])


@pytest.mark.parametrize("name", drawn(["clip", "siglip", "siglip2", "align", "chinese_clip"], 3))
async def test_scores_are_the_pipelines(tmp_path: Path, name: str) -> None:
    folder = write_joint_model(tmp_path / name, name)
    ask = by_pipeline(folder)
    expected = [ask(image, candidate_labels=LABELS) for image in PICTURES]
    named = [ask(image, candidate_labels=LABELS[:2], hypothesis_template="{}, dog") for image in PICTURES]
    async with vision_stack(folder) as stack:
        first, other, again = await asyncio.gather(
            classify(stack, labels=LABELS),
            classify(stack, labels=LABELS[:2], hypothesis_template="{}, dog"),
            classify(stack, labels=LABELS),
        )
        known = await classify(stack, labels=LABELS)  # whose labels are in memory by now
        for answer, wanted in ((first, expected), (other, named), (again, expected), (known, expected)):
            for row, found in zip(wanted, answer.results, strict=True):
                assert [label.label for label in found.labels] == [label["label"] for label in row]
                np.testing.assert_allclose(
                    [label.score for label in found.labels], [label["score"] for label in row], atol=TOLERANCE
                )
        assert known.usage == first.usage and first.usage.image_count == len(PICTURES)
        assert first.usage.input_token_count > len(LABELS)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ZERO_SHOT_CLASSIFY_IMAGE, models.TASK_EMBED_IMAGE]
        assert info.limits.context_token_count == CONTEXT


@pytest.mark.parametrize("name", ["clip", "siglip"])
async def test_scores_are_made_as_asked(tmp_path: Path, name: str) -> None:
    folder = write_joint_model(tmp_path / name, name)
    padding = {"padding": True} if name == "clip" else {"padding": "max_length", "max_length": 64}
    logits = logits_by_hand(folder, [f"This is a photo of {label}." for label in LABELS], padding)
    sigmoid, softmax = torch.tensor(logits).sigmoid().numpy(), torch.tensor(logits).softmax(-1).numpy()
    async with vision_stack(folder) as stack:
        scale = float(np.abs(logits).max())
        found = by_index(await classify(stack, labels=LABELS, raw_scores=True))
        np.testing.assert_allclose(found, logits, atol=TOLERANCE * scale)
        np.testing.assert_allclose(
            by_index(await classify(stack, labels=LABELS, multi_label=True)), sigmoid, atol=TOLERANCE
        )
        np.testing.assert_allclose(
            by_index(await classify(stack, labels=LABELS, multi_label=False)), softmax, atol=TOLERANCE
        )
        best = await classify(stack, labels=LABELS, top_k=2)
        assert [len(result.labels) for result in best.results] == [2] * len(PICTURES)


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    folder = write_joint_model(tmp_path / "clip", "clip")
    async with vision_stack(folder) as stack:

        async def violations(**request: Any) -> dict[str, str]:
            with pytest.raises(InvalidArgument) as caught:
                await classify(stack, **request)
            return {violation.field: violation.description for violation in caught.value.violations}

        with pytest.raises(TaskNotSupported, match="ClassifyImage without labels in the request"):
            await classify(stack)
        assert "at most 1000 items, not 1001" in (await violations(labels=["a"] * 1001))["labels"]
        for template in ("a photo", "{} and {}", "{}" + " " * 1000):
            assert list(await violations(labels=["fox"], hypothesis_template=template)) == ["hypothesis_template"]
        found = await violations(images=[], labels=["", "fox", "dog " * 9000, "the " * 70, "fox"], top_k=0)
        assert set(found) == {"images", "labels[0]", "labels[2]", "labels[3]", "labels[4]", "top_k"}
        assert found["labels[3]"] == "has 86 tokens, and the model reads at most 64; shorten it"
