"""Caption, AnswerImageQuestion and AnswerDocumentQuestion of models that write about one picture, and their streams.

Through gateway and client, against transformers' own `generate` in float32.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image

from sensorium import AsyncClient, InvalidArgument, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2 as pb
from services.engine.checkpoint import ModelRefused
from tests.drawn import drawn
from tests.e2e.pictures import PICTURES, media
from tests.e2e.requests import Read
from tests.e2e.stack import RunningStack, multimodal_stack
from tests.own_pictures import OwnPictures
from tests.tiny.picture_models import write_picture_model
from tests.waiting import until

GREEDY = {"temperature": 0.0, "max_new_tokens": 12}
SAMPLED = {"temperature": 1.5, "max_new_tokens": 12, "seed": 7}
TEXTS = ["", "the quick", "a model reads", "brown"]


async def caption(client: AsyncClient, image: Image, prompt: str = "", **options: Any) -> Read:
    """Streams a caption."""
    asked = pb.StreamCaptionRequest(
        image=media(image), prompt=prompt or None, parameters=common.GenerationParameters(**GREEDY | options)
    )
    read = Read()
    async for event in client.multimodal.stream_caption(asked):
        read.take(event)
    return read


async def tasks(stack: RunningStack) -> list[int]:
    return list((await stack.client.models.get_model(models.GetModelRequest())).model.tasks)


@pytest.mark.parametrize("name", drawn(["vit-gpt2", "blip", "git", "pix2struct"], 2))
async def test_captions_equal_generate(tmp_path: Path, name: str) -> None:
    own = OwnPictures(write_picture_model(tmp_path, name))
    pairs = list(zip(PICTURES, TEXTS, strict=True))
    wanted = [own.write(*pair) for pair in pairs]
    assert len({tuple(ids) for ids in wanted}) > 1, "they would not tell pictures apart"
    async with multimodal_stack(tmp_path) as stack:
        assert (await caption(stack.client, *pairs[0])).token_ids == wanted[0]
        noise = [caption(stack.client, image, **SAMPLED) for image in PICTURES]
        *together, _, _, _, _ = await asyncio.gather(*(caption(stack.client, *pair) for pair in pairs), *noise)
        assert [read.token_ids for read in together] == wanted
        assert [read.text for read in together] == [
            own.text(ids, text) for ids, text in zip(wanted, TEXTS, strict=True)
        ]
        assert all((read.events[0], read.events[-1]) == ("started", "completed") for read in together)
        assert max(len(read.events) for read in together) > 4, "they are streamed"
        assert together[0].usage.image_count == 1
        request = pb.CaptionRequest(image=media(pairs[1][0]), prompt=pairs[1][1],
                                    parameters=common.GenerationParameters(**GREEDY))  # fmt: skip
        whole = await stack.client.multimodal.caption(request)
        assert list(whole.candidates[0].token_ids) == wanted[1]
        assert await tasks(stack) == [models.TASK_CAPTION]
        with pytest.raises(TaskNotSupported):
            await stack.client.multimodal.answer_image_question(pb.AnswerImageQuestionRequest(question="who"))


@pytest.mark.parametrize(
    ("name", "task"),
    drawn([("blip-answers", "auto"), ("pix2struct-answers", "auto"), ("git", "answer-image-question")], 1),
)
async def test_answers_about_images_equal_generate(tmp_path: Path, name: str, task: str) -> None:
    own = OwnPictures(write_picture_model(tmp_path, name))
    questions = ["what is the fox", "who wrote the first program?", "the lazy dog", "where"]
    wanted = [own.write(image, question) for image, question in zip(PICTURES, questions, strict=True)]
    async with multimodal_stack(tmp_path, task=task) as stack:

        async def ask(image: Image, question: str) -> pb.AnswerImageQuestionResponse.Answer:
            request = pb.AnswerImageQuestionRequest(
                image=media(image), question=question, parameters=common.GenerationParameters(**GREEDY)
            )
            (only,) = (await stack.client.multimodal.answer_image_question(request)).answers
            return only

        answers = await asyncio.gather(*map(ask, PICTURES, questions))
        assert [list(answer.generated.token_ids) for answer in answers] == wanted
        assert [answer.text for answer in answers] == [
            own.text(ids, question if name == "git" else "").strip()
            for ids, question in zip(wanted, questions, strict=True)
        ]
        assert not answers[0].HasField("score")
        assert models.TASK_ANSWER_IMAGE_QUESTION in await tasks(stack)
        asked = pb.StreamAnswerImageQuestionRequest(image=media(PICTURES[2]), question=questions[2],
                                                    parameters=common.GenerationParameters(**GREEDY))  # fmt: skip
        read = Read()
        async for event in stack.client.multimodal.stream_answer_image_question(asked):
            read.take(event)
        assert read.token_ids == wanted[2]


@pytest.mark.parametrize("name", ["donut", "pix2struct-answers"])
async def test_answers_about_pages_equal_generate(tmp_path: Path, name: str) -> None:
    own = OwnPictures(write_picture_model(tmp_path, name))
    question = "who wrote it?"
    framed = f"<s_docvqa><s_question>{question}</s_question><s_answer>" if name == "donut" else question
    end = own.tokenizer.convert_tokens_to_ids("</s_answer>") if name == "donut" else None
    wanted = [own.write(image, framed) for image in PICTURES]
    async with multimodal_stack(tmp_path) as stack:
        for image, ids in zip(PICTURES, wanted, strict=True):
            asked = pb.StreamAnswerDocumentQuestionRequest(
                page=media(image), question=question, parameters=common.GenerationParameters(**GREEDY),
                words=[pb.DocumentWord(text="it reads the page itself")],
            )  # fmt: skip
            read = Read()
            async for event in stack.client.multimodal.stream_answer_document_question(asked):
                read.take(event)
            assert read.token_ids == (ids[: ids.index(end) + 1] if end in ids else ids)
        # What the answer ends with ends it, and is no part of it.
        if name == "donut":
            forced = common.GenerationParameters(**GREEDY, logit_bias={end: 100.0})
            request = pb.AnswerDocumentQuestionRequest(page=media(image), question=question, parameters=forced)
            (only,) = (await stack.client.multimodal.answer_document_question(request)).answers
            assert (only.text, list(only.generated.token_ids)) == ("", [end])
            assert only.generated.finish.reason == common.FINISH_REASON_END_OF_SEQUENCE
        assert models.TASK_ANSWER_DOCUMENT_QUESTION in await tasks(stack)


@pytest.mark.parametrize("name", drawn(["vit-gpt2", "blip"], 1))
async def test_every_way_to_generate_is_served(tmp_path: Path, name: str) -> None:
    own = OwnPictures(write_picture_model(tmp_path, name))
    async with multimodal_stack(tmp_path) as stack:
        whole = await caption(stack.client, PICTURES[1], "the", **SAMPLED)
        asked = pb.StreamCaptionRequest(
            image=media(PICTURES[1]), prompt="the", parameters=common.GenerationParameters(**SAMPLED)
        )
        asked.delivered.add(token_ids=whole.token_ids[:5])
        rest = Read()
        async for event in stack.client.multimodal.stream_caption(asked):
            rest.take(event)
        assert rest.token_ids == whole.token_ids[5:]
        beams = common.BeamSearchParameters(beam_count=3)
        request = pb.CaptionRequest(
            image=media(PICTURES[3]), parameters=common.GenerationParameters(**GREEDY, beam_search=beams)
        )
        best = await stack.client.multimodal.caption(request)
        assert list(best.candidates[0].token_ids) == own.write(PICTURES[3], num_beams=3)
        several = await caption(stack.client, PICTURES[2], candidate_count=3, **SAMPLED | {"logprob_count": 2})
        assert len({tuple(ids) for ids in several.candidates.values()}) == 3
        chosen = await caption(stack.client, PICTURES[0], "a", structured_output=common.StructuredOutput(
            choice_list=common.StructuredOutput.ChoiceList(choices=["fox", "dog"])))  # fmt: skip
        assert chosen.text in {"fox", "dog"}
        await leave(stack, image=media(PICTURES[0]))


async def leave(stack: RunningStack, **fields: Any) -> None:
    """Leaves a stream, and sees its row and its pages become free."""
    metric = stack.service.metric
    ended = metric("sensorium_engine_requests_total", finish_reason="cancelled")
    endless = common.GenerationParameters(temperature=0, ignore_eos=True)
    async for event in stack.client.multimodal.stream_caption(pb.StreamCaptionRequest(parameters=endless, **fields)):
        if event.HasField("started"):
            break
    await until(lambda: metric("sensorium_engine_requests_total", finish_reason="cancelled") == ended + 1)
    await until(lambda: metric("sensorium_engine_kv_cache_usage_ratio") == 0)


async def test_what_is_wrong_is_told_at_once_and_harms_nobody(tmp_path: Path) -> None:
    write_picture_model(tmp_path, "blip-answers")
    async with multimodal_stack(tmp_path) as stack:

        async def wrong(**fields: Any) -> list[tuple[str, str]]:
            request = {"image": media(PICTURES[0]), "question": "what"} | fields
            with pytest.raises(InvalidArgument) as caught:
                await stack.client.multimodal.answer_image_question(pb.AnswerImageQuestionRequest(**request))
            return [(violation.field, violation.description) for violation in caught.value.violations]

        parameters = common.GenerationParameters
        all_at_once = await wrong(
            image=common.Media(data=b"no image"), question=" ", answer_count=2, parameters=parameters(top_p=2)
        )
        assert [field for field, _ in all_at_once] == ["question", "answer_count", "image", "parameters.top_p"]
        (image,) = await wrong(image=common.Media(uri="file:///etc/passwd"))
        assert image == ("image", "is a URI, and this service fetches none: send the image's bytes as `data`")
        (long,) = await wrong(question="fox " * 100)
        assert long == ("question", "has 102 tokens, and the model reads at most 64")
        ((field, _),) = await wrong(parameters=parameters(prompt_logprob_count=1))
        assert field == "parameters.prompt_logprob_count"
        with pytest.raises(TaskNotSupported):
            await stack.client.multimodal.caption(pb.CaptionRequest(image=media(PICTURES[0])))
    with pytest.raises(Exception, match="leave it out") as caught:
        async with multimodal_stack(tmp_path, task="caption"):
            pass
    assert isinstance(caught.value.__cause__, ModelRefused)
