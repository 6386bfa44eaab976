"""Images of one shape go through the model together, and nobody's answer depends on that."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForDepthEstimation, AutoModelForImageClassification

from sensorium.v1 import vision_pb2 as pb
from services.engine.batching.batcher import Batcher
from tests.e2e.pictures import media
from tests.e2e.stack import RunningStack, vision_stack
from tests.services.engine.media.pictures import noise
from tests.tiny.vision_models import write_vision_model

COUNT = 48
TOLERANCE = 2e-5
"""Between an answer in company and alone, of numbers of about 1, in float32."""

HALF_TOLERANCE = 3e-2
"""Of bfloat16, as a share of the greatest logit."""


async def logits(stack: RunningStack, seed: int) -> list[float]:
    image = media(noise(30 + seed % 3, 40, seed=seed))
    answer = await stack.client.vision.classify_image(pb.ClassifyImageRequest(images=[image], raw_scores=True))
    return [label.score for label in sorted(answer.results[0].labels, key=lambda label: label.index)]


def let_meet(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Lets no batch begin before so many images wait, however long they take to come."""
    own, met = Batcher._pause, False

    def pause(batcher: Batcher) -> float | None:
        nonlocal met
        met = met or len(batcher._queue) == count
        return own(batcher) if met else 0.0

    monkeypatch.setattr(Batcher, "_pause", pause)


async def test_answers_in_company_are_those_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_vision_model(tmp_path / "swin", "swin", AutoModelForImageClassification, num_labels=5)
    async with vision_stack(folder) as stack:
        let_meet(monkeypatch, COUNT)
        together = await asyncio.gather(*(logits(stack, seed) for seed in range(COUNT)))
        assert stack.service.metric("sensorium_engine_steps_total") < COUNT / 4
    async with vision_stack(folder, max_batch_images=1) as stack:
        alone = [await logits(stack, seed) for seed in range(COUNT)]
        assert stack.service.metric("sensorium_engine_steps_total") == COUNT
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)


async def test_images_of_unlike_shapes_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model keeps their proportions: they cannot lie side by side."""
    folder = write_vision_model(tmp_path / "depth", "depth_anything", AutoModelForDepthEstimation)
    pictures = [noise(32, 32), noise(64, 32), noise(32, 64), noise(32, 32, seed=1), noise(64, 32, seed=1)]

    async def depths(stack: RunningStack, i: int) -> bytes:
        request = pb.EstimateDepthRequest(image=media(pictures[i]), format=pb.EstimateDepthRequest.DEPTH_FORMAT_FLOAT32)
        return (await stack.client.vision.estimate_depth(request)).float32

    async with vision_stack(folder) as stack:
        let_meet(monkeypatch, len(pictures))
        together = await asyncio.gather(*(depths(stack, i) for i in range(len(pictures))))
        assert stack.service.metric("sensorium_engine_steps_total") == 3
        for i, found in enumerate(together):
            alone = np.frombuffer(await depths(stack, i), "<f4")
            np.testing.assert_allclose(np.frombuffer(found, "<f4"), alone, atol=TOLERANCE * np.abs(alone).max())


async def test_half_the_width_costs_little(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModelForImageClassification, num_labels=5)
    async with vision_stack(folder) as stack:
        exact = [await logits(stack, seed) for seed in range(8)]
    async with vision_stack(folder, dtype="bfloat16") as stack:
        found = [await logits(stack, seed) for seed in range(8)]
    np.testing.assert_allclose(found, exact, atol=HALF_TOLERANCE * np.abs(exact).max())
