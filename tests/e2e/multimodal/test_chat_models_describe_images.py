"""Caption, AnswerImageQuestion and AnswerDocumentQuestion of chat models, against transformers alone on their template.

Through gateway and client, in float32, alone and beside conversations.
"""

import asyncio
from pathlib import Path

import pytest

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2 as pb
from tests.drawn import drawn
from tests.e2e import conversations
from tests.e2e.pictures import media
from tests.e2e.requests import Read
from tests.e2e.stack import multimodal_stack
from tests.own_multimodal import OwnModel
from tests.tiny import multimodal_models as tiny

PARAMETERS = common.GenerationParameters(temperature=0, max_new_tokens=12, ignore_eos=True)


@pytest.mark.parametrize("name", drawn(["llava", "qwen2_vl"], 1))
async def test_they_are_asked_in_a_turn_of_the_user(tmp_path: Path, name: str) -> None:
    folder, own = tiny.write_checkpoint(tmp_path / name, name), OwnModel(tmp_path / name, name)
    first, second, third = (tiny.picture(seed) for seed in range(3))
    wanted = [
        own.generate(first, "Describe the image."),
        own.generate(second, "Name its colours."),
        own.generate(third, "What is this?"),
        own.generate(first, "How much is it?"),
    ]
    async with multimodal_stack(folder) as stack:
        ask = stack.client.multimodal
        streamed = Read()

        async def stream() -> Read:
            request = pb.StreamAnswerDocumentQuestionRequest(
                page=media(first), question="How much is it?", parameters=PARAMETERS
            )
            async for event in ask.stream_answer_document_question(request):
                streamed.take(event)
            return streamed

        plain, told, answer, page, beside = await asyncio.gather(
            ask.caption(pb.CaptionRequest(image=media(first), parameters=PARAMETERS)),
            ask.caption(pb.CaptionRequest(image=media(second), prompt="Name its colours.", parameters=PARAMETERS)),
            ask.answer_image_question(
                pb.AnswerImageQuestionRequest(image=media(third), question="What is this?", parameters=PARAMETERS)
            ),
            stream(),
            conversations.read(stack.client, conversations.request(third, "What is this?")),
        )
        found = [plain.candidates[0].token_ids, told.candidates[0].token_ids, answer.answers[0].generated.token_ids]
        assert [*map(list, found), page.token_ids] == wanted
        assert beside.token_ids == wanted[2]
        assert answer.answers[0].text == answer.answers[0].generated.text.strip()
        assert (plain.usage.image_count, page.events[0], page.events[-1]) == (1, "started", "completed")
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [
            models.TASK_GENERATE_MULTIMODAL, models.TASK_CAPTION, models.TASK_ANSWER_IMAGE_QUESTION,
            models.TASK_ANSWER_DOCUMENT_QUESTION,
        ]  # fmt: skip


async def test_what_is_wrong_is_of_the_field_it_is_in(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path / "llava", "llava")
    async with multimodal_stack(folder) as stack:
        asked = pb.AnswerDocumentQuestionRequest(question="What is <image>?", max_answer_word_count=3)
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.multimodal.answer_document_question(asked)
        assert [violation.field for violation in caught.value.violations] == [
            "max_answer_word_count", "page", "question",
        ]  # fmt: skip
        long = pb.CaptionRequest(image=media(tiny.picture(0)), prompt="word " * 3000)
        with pytest.raises(InvalidArgument, match="prompt: has 15138 characters"):
            await stack.client.multimodal.caption(long)


async def test_a_model_that_only_hears_describes_nothing(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path / "hears", "qwen2_audio")
    async with multimodal_stack(folder) as stack:
        with pytest.raises(TaskNotSupported):
            await stack.client.multimodal.caption(pb.CaptionRequest(image=media(tiny.picture(0))))
