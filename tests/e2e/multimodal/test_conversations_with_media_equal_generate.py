"""MultimodalService.Generate and StreamGenerate through gateway and client, against transformers alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sensorium import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2 as pb
from tests.drawn import drawn
from tests.e2e.conversations import part, prompt, read, request
from tests.e2e.stack import RunningStack, multimodal_stack
from tests.own_multimodal import OwnModel, Said, recording, shown
from tests.tiny import multimodal_models as tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")
SAMPLED = {"temperature": 1.2, "top_p": 0.95, "repetition_penalty": 1.1}


@pytest.fixture(scope="module", params=drawn(["llava", "qwen2_vl", "idefics3", "smolvlm", "qwen2_audio"], 2))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_checkpoint(tmp_path_factory.mktemp(name), name)


FORMAT = {"start_anchor": "<none>", "fields": {"reasoning_content": {"open": "(", "close": ")"}, "content": {}}}


async def test_streamed_tokens_equal_generate_alone_and_in_a_mixed_batch(folder: Path, name: str) -> None:
    (folder / "format.json").write_text(json.dumps(FORMAT))
    first, second, third, _ = shown(name)
    turns: list[tuple[Said, ...]] = [
        (first, "What is this?"),
        ("Compare ", second, " with ", third, " please."),
        ("No media here.",),
        (third, second, third),
        ("Only words, too, but more of them than before.",),
    ]
    own = OwnModel(folder, name)
    expected = [own.generate(*turn) for turn in turns]
    shape = {"prefill_tokens": 23, "prefix_cache": False, "response_template": folder / "format.json"}
    async with multimodal_stack(folder, **shape) as stack:
        for turn, ids in zip(turns[:3], expected, strict=False):
            assert (await read(stack.client, request(*turn))).token_ids == ids
        noise = [read(stack.client, request(turns[i][-1], seed=i, **SAMPLED)) for i in range(3)]
        together = await asyncio.gather(*(read(stack.client, request(*turn)) for turn in turns), *noise)
        assert [result.token_ids for result in together[: len(turns)]] == expected
        whole = await stack.client.multimodal.generate(
            pb.MultimodalServiceGenerateRequest(
                prompt=prompt(*turns[1]),
                parameters=common.GenerationParameters(temperature=0, max_new_tokens=12, ignore_eos=True),
                return_rendered_prompt=True,
            )
        )
        parsed = prompt(*turns[0])
        parsed.parse_response = True
        said = common.GenerationParameters(structured_output=common.StructuredOutput(regex=r"\(([a-z]{3})\) (yes|no)"))
        answered = await stack.client.multimodal.generate(
            pb.MultimodalServiceGenerateRequest(prompt=parsed, parameters=said)
        )
    message = answered.candidates[0].message
    assert answered.candidates[0].text == f"({message.reasoning}) {message.content}"
    assert len(message.reasoning) == 3 and message.content in ("yes", "no")
    assert list(whole.candidates[0].token_ids) == expected[1]
    assert "Compare " in whole.rendered_prompt
    reads_images = name != "qwen2_audio"
    assert whole.usage.image_count == (2 if reads_images else 0)
    assert whole.usage.HasField("audio_duration") != reads_images


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llava(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    folder = tiny.write_checkpoint(tmp_path_factory.mktemp("llava"), "llava")
    async with multimodal_stack(folder) as stack:
        yield stack


async def test_it_resumes_and_shares_prefixes(llava: RunningStack) -> None:
    said = (tiny.picture(11), tiny.picture(12), "Go on.")
    whole = await read(llava.client, request(*said, seed=3, **SAMPLED))
    asked = request(*said, seed=3, **SAMPLED)
    asked.delivered.add(token_ids=whole.token_ids[:5])
    rest = await read(llava.client, asked)
    assert rest.token_ids == whole.token_ids[5:]
    assert whole.usage.cached_token_count == 0
    assert rest.usage.cached_token_count >= 32
    other = await read(llava.client, request(tiny.picture(11), tiny.picture(13), "Go on.", seed=3, **SAMPLED))
    assert 16 <= other.usage.cached_token_count < rest.usage.cached_token_count


async def test_candidates_beams_structure_and_lookup(llava: RunningStack) -> None:
    said = (tiny.picture(1), "Yes or no?")
    asked = request(*said, seed=1, candidate_count=3, **SAMPLED)
    several = await read(llava.client, asked)
    assert len({tuple(ids) for ids in several.candidates.values()}) == 3
    beams = common.BeamSearchParameters(beam_count=3)
    assert (await read(llava.client, request(*said, beam_search=beams))).token_ids
    choice = common.StructuredOutput(choice_list=common.StructuredOutput.ChoiceList(choices=["yes", "no"]))
    chosen = await read(llava.client, request(*said, structured_output=choice, ignore_eos=False))
    assert chosen.text in ("yes", "no")
    few = {"allowed_token_ids": [60, 61], "max_new_tokens": 60}
    plain, proposed = [await read(llava.client, request(*said, **few, **more)) for more in ({}, {"prompt_lookup": {}})]
    assert proposed.token_ids == plain.token_ids
    assert proposed.usage.accepted_token_count > 0


def _bad(*parts: pb.ContentPart) -> pb.MultimodalServiceStreamGenerateRequest:
    asked = request("placeholder")
    asked.prompt.messages[0].ClearField("parts")
    asked.prompt.messages[0].parts.extend(parts)
    return asked


BAD = {
    "prompt.messages[0].parts[1].image": _bad(
        part("Look: "), pb.ContentPart(image=common.Media(data=part(tiny.picture(1)).image.data[:200]))
    ),
    "prompt.messages[0].parts[0].image": _bad(pb.ContentPart(image=common.Media(uri="file:///etc/passwd"))),
    "prompt.messages[0].parts[0].audio": _bad(part(recording(1))),
    "prompt.messages[0].parts[0].text": _bad(part("What is <image>?")),
    "prompt.messages[0].parts[0]": _bad(pb.ContentPart()),
    "prompt.messages[0].parts": _bad(),
    "prompt.messages": pb.MultimodalServiceStreamGenerateRequest(),
    "prompt": _bad(*[part(tiny.picture(1))] * 16, part("too long " * 200)),
}


async def test_bad_media_are_told_and_harm_nobody(llava: RunningStack) -> None:
    good = request(tiny.picture(1), "What?")
    alone = (await read(llava.client, good)).token_ids
    results = await asyncio.gather(
        *(read(llava.client, asked) for each in BAD.values() for asked in (each, good)), return_exceptions=True
    )
    for place, refused, beside in zip(BAD, results[::2], results[1::2], strict=True):
        assert isinstance(refused, InvalidArgument), place
        assert [violation.field for violation in refused.violations] == [place]
        assert not isinstance(beside, BaseException)
        assert beside.token_ids == alone


async def test_all_that_is_wrong_is_told_at_once(llava: RunningStack) -> None:
    asked = _bad(part(recording(1)), pb.ContentPart(image=common.Media(data=b"no image")), part("<image>"))
    asked.parameters.top_p = 7
    with pytest.raises(InvalidArgument) as refused:
        await read(llava.client, asked)
    assert {violation.field for violation in refused.value.violations} == {
        "prompt.messages[0].parts[0].audio",
        "prompt.messages[0].parts[1].image",
        "prompt.messages[0].parts[2].text",
        "parameters.top_p",
    }


async def test_too_many_images_are_not_looked_at(llava: RunningStack) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await read(llava.client, request(*[tiny.picture(1)] * 17))
    assert [violation.field for violation in refused.value.violations] == ["prompt.messages"]


async def test_the_model_tells_what_it_does(llava: RunningStack) -> None:
    info = (await llava.client.models.get_model(models.GetModelRequest())).model
    assert models.TASK_GENERATE_MULTIMODAL in info.tasks
    assert info.limits.media_bytes > 0
    assert info.limits.image_pixel_count > 0
    assert not info.limits.HasField("audio_duration")
    assert info.execution_path == models.EXECUTION_PATH_BATCHED
