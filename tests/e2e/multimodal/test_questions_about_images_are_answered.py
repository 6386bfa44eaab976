"""AnswerImageQuestion of a model that chooses among the answers it knows, against the model by hand in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from transformers import AutoImageProcessor, AutoModelForVisualQuestionAnswering, AutoTokenizer

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2 as pb
from tests.e2e.pictures import PICTURES, media
from tests.e2e.stack import RunningStack, multimodal_stack
from tests.own_models import own
from tests.tiny.page_models import ANSWERS, write_vilt

TOLERANCE = 2e-5
QUESTIONS = ["what is it", "how many red foxes jump over the lazy dog", "is it a cat?", "where"]


def by_hand(folder: Path, image: Image, question: str) -> list[float]:
    """Returns the score of each answer, as the pipeline of transformers 4 made it."""
    model: Any = own(AutoModelForVisualQuestionAnswering, folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**tokenizer(question, return_tensors="pt"), **processor(image, return_tensors="pt")).logits
    return logits[0].sigmoid().tolist()


async def answer(stack: RunningStack, image: Image, question: str, **more: Any) -> pb.AnswerImageQuestionResponse:
    request = pb.AnswerImageQuestionRequest(image=media(image), question=question, **more)
    return await stack.client.multimodal.answer_image_question(request)


async def test_answers_are_the_models_own(tmp_path: Path) -> None:
    folder = write_vilt(tmp_path / "vilt")
    pairs = [(image, question) for image in PICTURES for question in QUESTIONS]
    wanted = [by_hand(folder, *pair) for pair in pairs]
    async with multimodal_stack(folder) as stack:
        found = await asyncio.gather(*(answer(stack, *pair, answer_count=9) for pair in pairs))
        for scores, response in zip(wanted, found, strict=True):
            assert [each.text for each in response.answers] == [ANSWERS[i] for i in np.argsort(-np.array(scores))]
            told = [each.score for each in response.answers]
            np.testing.assert_allclose(told, sorted(scores, reverse=True), atol=TOLERANCE)
        assert len({response.answers[0].score for response in found}) > len(PICTURES)
        best = await answer(stack, *pairs[0])
        assert [each.text for each in best.answers] == [found[0].answers[0].text]
        assert (best.usage.image_count, best.seed) == (1, 0)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ANSWER_IMAGE_QUESTION]
        assert list(info.labels) == ANSWERS
        request = pb.StreamAnswerImageQuestionRequest(image=media(pairs[0][0]), question=pairs[0][1])
        events = [event async for event in stack.client.multimodal.stream_answer_image_question(request)]
        assert [event.WhichOneof("event") for event in events] == ["started", "delta", "completed"]
        assert events[1].delta.text == best.answers[0].text


async def test_what_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    async with multimodal_stack(write_vilt(tmp_path / "vilt")) as stack:
        request = pb.AnswerImageQuestionRequest(
            image=common.Media(data=b"a cat"),
            question="fox " * 50,
            parameters=common.GenerationParameters(),
            answer_count=0,
        )
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.multimodal.answer_image_question(request)
        fields = [violation.field for violation in caught.value.violations]
        assert fields == ["parameters", "answer_count", "image", "question"]
        with pytest.raises(InvalidArgument, match="question: must not be empty"):
            await answer(stack, PICTURES[0], "")
