"""EmbedImage through gateway and client, against transformers' own models in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoTokenizer,
    pipeline,
)

from sensorium import InvalidArgument
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import vision_pb2 as pb
from tests.drawn import drawn
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, vision_stack
from tests.tiny.joint_models import WIDTH, write_joint_model
from tests.tiny.vision_models import write_vision_model

TEXTS = ["the lazy dog", "Ada wrote the first program in London", "batches"]
TOLERANCE = 2e-5
"""Of numbers of about 1, whatever is in the batch."""


def unit(vectors: Any) -> np.ndarray[Any, Any]:
    return torch.nn.functional.normalize(torch.as_tensor(vectors).flatten(1), dim=-1).numpy()


def pixels(folder: Path, picture: int) -> Any:
    return AutoImageProcessor.from_pretrained(folder, backend="pil")(images=PICTURES[picture], return_tensors="pt")


async def embed(stack: RunningStack, **more: Any) -> np.ndarray[Any, Any]:
    request = pb.EmbedImageRequest(images=map(media, PICTURES), **more)
    answer = await stack.client.vision.embed_image(request)
    assert all((each.vector_count, each.dimension_count) == (1, len(each.values)) for each in answer.image_embeddings)
    return np.array([each.values for each in answer.image_embeddings])


@pytest.mark.parametrize("name", drawn(["vit", "dinov2", "beit", "swin", "resnet", "convnext"], 3))
async def test_vectors_are_what_the_pipeline_pools(tmp_path: Path, name: str) -> None:
    folder = write_vision_model(tmp_path / name, name, AutoModel)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    ask: Any = pipeline("image-feature-extraction", model=str(folder), image_processor=processor, dtype=torch.float32)
    expected = torch.cat([ask(image, pool=True, return_tensors=True) for image in PICTURES]).flatten(1).numpy()
    async with vision_stack(folder) as stack:
        one, raw = await asyncio.gather(embed(stack), embed(stack, normalize=False))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(raw, expected, atol=TOLERANCE * scale)
        np.testing.assert_allclose(one, unit(expected), atol=TOLERANCE)
        np.testing.assert_allclose(await embed(stack, dimension_count=7), unit(expected[:, :7]), atol=TOLERANCE)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_EMBED_IMAGE]
        for wrong in (0, expected.shape[1] + 1):
            with pytest.raises(InvalidArgument, match="dimension_count"):
                await embed(stack, dimension_count=wrong)
        with pytest.raises(InvalidArgument, match="reads images alone"):
            await embed(stack, texts=TEXTS)


async def test_what_has_no_weights_to_pool_gives_its_class_token(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModelForImageClassification)
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        states = [model.vit(**pixels(folder, i)).last_hidden_state[0, 0] for i in range(len(PICTURES))]
    async with vision_stack(folder, task="embed") as stack:
        np.testing.assert_allclose(await embed(stack), unit(torch.stack(states)), atol=TOLERANCE)


@pytest.mark.parametrize("name", drawn(["clip", "siglip", "siglip2", "align", "chinese_clip"], 3))
async def test_images_and_texts_share_a_space(tmp_path: Path, name: str) -> None:
    folder = write_joint_model(tmp_path / name, name)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    padding: dict[str, Any] = {"padding": True}
    if "siglip" in name:
        padding = {"padding": "max_length", "max_length": 64}
    texts = AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", **padding)
    with torch.inference_mode():
        outputs = [model(**pixels(folder, i), **texts) for i in range(len(PICTURES))]
    images = torch.cat([output.image_embeds for output in outputs]).numpy()
    words = outputs[0].text_embeds.numpy()
    async with vision_stack(folder, task="embed") as stack:
        request = pb.EmbedImageRequest(images=map(media, PICTURES), texts=TEXTS)
        answer = await stack.client.vision.embed_image(request)
        np.testing.assert_allclose([each.values for each in answer.image_embeddings], images, atol=TOLERANCE)
        np.testing.assert_allclose([each.values for each in answer.text_embeddings], words, atol=TOLERANCE)
        assert answer.usage.image_count == len(PICTURES)
        assert answer.usage.input_token_count > len(TEXTS)
        alone = await stack.client.vision.embed_image(pb.EmbedImageRequest(texts=TEXTS[1:2], normalize=False))
        assert not alone.image_embeddings
        np.testing.assert_allclose(unit([alone.text_embeddings[0].values]), words[1:2], atol=TOLERANCE)


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    async with vision_stack(write_joint_model(tmp_path / "clip", "clip"), max_batch_items=6) as stack:

        async def violations(**request: Any) -> dict[str, str]:
            with pytest.raises(InvalidArgument) as caught:
                await stack.client.vision.embed_image(pb.EmbedImageRequest(**request))
            return {violation.field: violation.description for violation in caught.value.violations}

        assert list(await violations()) == ["images"]
        assert "1 to 6 items, not 7" in (await violations(images=map(media, PICTURES), texts=TEXTS))["images"]
        found = await violations(texts=["", "dog", "dog " * 900], dimension_count=WIDTH + 1)
        assert set(found) == {"texts[0]", "texts[2]", "dimension_count"}
