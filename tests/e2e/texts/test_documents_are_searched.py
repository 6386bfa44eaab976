"""AnswerDocumentQuestion of models that find answers among words, through gateway and client, in float32.

LayoutLM is compared with transformers' pipeline. For LayoutLMv3 that pipeline loses the image, so its model is asked by
hand. Tokens of an answer are few enough that limits in tokens, as the pipeline's, and in words mean the same.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForDocumentQuestionAnswering,
    AutoTokenizer,
    LayoutLMv2Config,
    pipeline,
)

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2 as pb
from services.engine.checkpoint import ModelRefused
from tests.e2e.pictures import media
from tests.e2e.stack import RunningStack, multimodal_stack
from tests.services.engine.media.pictures import landscape
from tests.tiny.page_models import CONTEXT, write_page_model

TOLERANCE = 2e-5
QUESTION = "the quick fox"
PAGE = landscape(200, 150)
SHORT = ["Ada", "Lovelace", "wrote", "the", "first", "program", "in", "London", "."]
LONG = [*SHORT, "the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "answers"] * 6
Box = tuple[float, float, float, float]


def placed(words: list[str], page: Image = PAGE) -> list[Box]:
    """Returns a place for each word, in lines, that fall on no whole thousandths."""
    width, height = page.size
    column, row = width / 9, height / 20
    return [(i % 8 * column, i // 8 % 18 * row, (i % 8 + 0.9) * column, (i // 8 % 18 + 0.8) * row)
            for i in range(len(words))]  # fmt: skip


def document(words: list[str], boxes: list[Box] | None = None) -> list[pb.DocumentWord]:
    return [
        pb.DocumentWord(text=word, box=common.BoundingBox(x_min=a, y_min=b, x_max=c, y_max=d))
        for word, (a, b, c, d) in zip(words, boxes or placed(words), strict=True)
    ]


def scaled(words: list[str], page: Image = PAGE) -> list[list[int]]:
    width, height = page.size
    edges = [np.float32(box) for box in placed(words)]  # as the contract carries them
    return [[int(1000 * float(value) / side) for value, side in zip(box, (width, height) * 2, strict=True)]
            for box in edges]  # fmt: skip


def by_pipeline(folder: Path, words: list[str], question: str = QUESTION, **more: Any) -> dict[str, Any]:
    ask: Any = pipeline("document-question-answering", model=str(folder), dtype=torch.float32)
    (best,) = ask(image=None, question=question, word_boxes=list(zip(words, scaled(words), strict=True)), **more)
    return best


def by_hand(folder: Path, words: list[str], most: int, count: int) -> list[tuple[int, int, float]]:
    """Looks at every pair of tokens of every window of LayoutLMv3."""
    model: Any = AutoModelForDocumentQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", apply_ocr=False)
    read = tokenizer([QUESTION], [words], boxes=[scaled(words)], truncation="only_second", max_length=CONTEXT,
                     stride=CONTEXT // 2, return_overflowing_tokens=True)  # fmt: skip
    found: dict[tuple[int, int], float] = {}
    for number in range(len(read["input_ids"])):
        own, sequence = read.word_ids(number), read.sequence_ids(number)
        inputs = {name: torch.tensor([read[name][number]]) for name in ("input_ids", "attention_mask", "bbox")}
        with torch.inference_mode():
            output = model(**inputs, **processor(PAGE, return_tensors="pt"))
        places = [0, *(i for i, of in enumerate(sequence) if of == 1)]
        first, last = (logits[0, places].softmax(0) for logits in (output.start_logits, output.end_logits))
        for i, start in enumerate(places[1:], 1):
            for j, end in enumerate(places[i:], i):
                pair, score = (own[start], own[end]), float(first[i] * last[j])
                if pair[1] - pair[0] < most and score > found.get(pair, 0):
                    found[pair] = score
    ordered = sorted(found.items(), key=lambda item: -item[1])[:count]
    return [(*pair, score) for pair, score in ordered]


async def answer(stack: RunningStack, asked: list[str], **more: Any) -> pb.AnswerDocumentQuestionResponse:
    request = {"question": QUESTION, "words": document(asked)} | more
    return await stack.client.multimodal.answer_document_question(pb.AnswerDocumentQuestionRequest(**request))


SIZE = common.ImageSize(width=PAGE.width, height=PAGE.height)


async def test_layoutlm_answers_as_the_pipeline(tmp_path: Path) -> None:
    folder = write_page_model(tmp_path / "page", "layoutlm")
    asked = {"short": SHORT, "one window and a bit": LONG[:50], "long": LONG}
    wanted = {name: by_pipeline(folder, words, max_answer_len=3) for name, words in asked.items()}
    async with multimodal_stack(folder) as stack:
        answers = await asyncio.gather(
            *(answer(stack, words, page_size=SIZE, max_answer_word_count=3) for words in asked.values())
        )
        for best, found in zip(wanted.values(), answers, strict=True):
            (only,) = found.answers
            assert (only.text, only.first_word_index, only.last_word_index) == (
                best["answer"], best["start"], best["end"],
            )  # fmt: skip
            assert only.score == pytest.approx(best["score"], abs=TOLERANCE)
        assert answers[0].usage.image_count == 0
        assert answers[2].usage.input_token_count > CONTEXT
        # The size of a page that is sent need not be told, whatever the model sees of it.
        assert (await answer(stack, SHORT, page=media(PAGE), max_answer_word_count=3)).answers == answers[0].answers
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ANSWER_DOCUMENT_QUESTION]
        assert info.limits.context_token_count == CONTEXT
        with pytest.raises(TaskNotSupported):
            await stack.client.multimodal.caption(pb.CaptionRequest(image=media(PAGE)))


async def test_layoutlmv3_sees_the_page(tmp_path: Path) -> None:
    folder = write_page_model(tmp_path / "page", "layoutlmv3")
    wanted = {name: by_hand(folder, words, 4, 7) for name, words in (("short", SHORT), ("long", LONG))}
    async with multimodal_stack(folder) as stack:
        options = {"page": media(PAGE), "max_answer_word_count": 4, "answer_count": 7}
        answers = await asyncio.gather(*(answer(stack, words, **options) for words in (SHORT, LONG)))
        for best, found, words in zip(wanted.values(), answers, (SHORT, LONG), strict=True):
            told = [(each.first_word_index, each.last_word_index) for each in found.answers]
            assert told == [(first, last) for first, last, _ in best]
            np.testing.assert_allclose([each.score for each in found.answers], [each[2] for each in best],
                                       atol=TOLERANCE)  # fmt: skip
            assert [each.text for each in found.answers] == [" ".join(words[a : b + 1]) for a, b in told]
        assert answers[0].usage.image_count == 1
        other = await answer(stack, SHORT, **options | {"page": media(landscape(200, 150).rotate(180))})
        assert [each.score for each in other.answers] != [each.score for each in answers[0].answers]
        with pytest.raises(InvalidArgument, match="reads the page's image too"):
            await answer(stack, SHORT, page_size=SIZE)


async def test_an_answer_is_streamed_as_one_delta(tmp_path: Path) -> None:
    folder = write_page_model(tmp_path / "page", "layoutlm-bytes")
    async with multimodal_stack(folder) as stack:
        request = pb.StreamAnswerDocumentQuestionRequest(question=QUESTION, words=document(SHORT), page_size=SIZE)
        events = [event async for event in stack.client.multimodal.stream_answer_document_question(request)]
        assert [event.WhichOneof("event") for event in events] == ["started", "delta", "completed"]
        whole = await answer(stack, SHORT, page_size=SIZE)
        assert events[1].delta.text == whole.answers[0].text
        assert events[0].started.prompt_token_count == events[2].completed.usage.input_token_count
        assert events[2].completed.candidates[0].finish.reason == common.FINISH_REASON_END_OF_SEQUENCE
        request.delivered.add(token_ids=[1])
        with pytest.raises(InvalidArgument, match="generates nothing"):
            async for _ in stack.client.multimodal.stream_answer_document_question(request):
                pass


def word(text: str = "a", **box: float) -> pb.DocumentWord:
    return pb.DocumentWord(text=text, box=common.BoundingBox(**box))


FINE = {"x_min": 1.0, "y_min": 1.0, "x_max": 5.0, "y_max": 5.0}
WRONG: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no words": ({"words": []}, {"words": "does not read them off the page's image itself"}),
    "no question": ({"question": " "}, {"question": "must not be empty"}),
    "an empty word": ({"words": [word(**FINE), word("", **FINE)]}, {"words[1].text": "must not be empty"}),
    "only space": ({"words": [word("  ", **FINE)]}, {"words": "no text that could be an answer"}),
    "places": (
        {
            "words": [
                pb.DocumentWord(text="a"), word(**FINE), word(**FINE | {"x_max": 201.0}),
                word(**FINE | {"x_min": 6.0}), word(**FINE | {"y_min": -1.0}), word(**FINE | {"y_max": float("nan")}),
            ]
        },
        {"words[0].box": "must be set", "words[2].box": "within the page of 200 × 150", "words[3].box": "in order",
         "words[4].box": "within", "words[5].box": "finite"},
    ),
    "no size": ({"page_size": None}, {"page_size": "must be set where there is no `page`"}),
    "an empty size": ({"page_size": common.ImageSize(width=200)}, {"page_size": "at least 1 × 1, not 200 × 0"}),
    "a page that is none": (
        {"page": common.Media(data=b"a page"), "answer_count": 0},
        {"page": "is no known image", "answer_count": "must be at least 1, not 0"},
    ),
    "options": (
        {"parameters": common.GenerationParameters(), "max_answer_word_count": 0},
        {"parameters": "generates nothing", "max_answer_word_count": "must be at least 1, not 0"},
    ),
    "a long question": ({"question": "fox " * 40}, {"question": "may fill at most half of the model's context"}),
    "too long": ({"words": [word("fox " * 60, **FINE)] * 40}, {"words": "no more than 2000 may wait"}),
    "far too long": ({"words": [word("fox " * 600, **FINE)] * 40}, {"words": "at most 16000 are read at once"}),
}  # fmt: skip


async def test_what_is_wrong_is_told_and_harms_nobody(tmp_path: Path) -> None:
    folder = write_page_model(tmp_path / "page", "layoutlm")
    async with multimodal_stack(folder, max_queued_tokens=2000) as stack:
        alone = await answer(stack, SHORT, page_size=SIZE)

        async def refused(changes: dict[str, Any]) -> dict[str, str]:
            try:
                await answer(stack, SHORT, **{"page_size": SIZE} | changes)
            except InvalidArgument as error:
                return {violation.field: violation.description for violation in error.violations}
            return {}

        *found, beside = await asyncio.gather(
            *(refused(changes) for changes, _ in WRONG.values()), answer(stack, SHORT, page_size=SIZE)
        )
        for name, told, (_, wanted) in zip(WRONG, found, WRONG.values(), strict=True):
            assert told.keys() == wanted.keys(), (name, told)
            assert all(part in told[field] for field, part in wanted.items()), (name, told)
        assert beside.answers[0].text == alone.answers[0].text
        assert beside.answers[0].score == pytest.approx(alone.answers[0].score, abs=TOLERANCE)


async def test_layoutlmv2_is_refused_with_its_reason(tmp_path: Path) -> None:
    LayoutLMv2Config(architectures=["LayoutLMv2ForQuestionAnswering"]).save_pretrained(tmp_path)
    with pytest.raises(Exception, match="needs detectron2") as caught:
        async with multimodal_stack(tmp_path):
            pass
    assert isinstance(caught.value.__cause__, ModelRefused)
