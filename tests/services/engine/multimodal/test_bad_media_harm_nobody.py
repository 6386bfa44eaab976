import asyncio
from pathlib import Path

import pytest
import torch
from PIL import Image

from sensorium.errors import DeviceOutOfMemory, Internal, InvalidArgument
from services.engine.checkpoint import Checkpoint
from services.engine.generation.running.media import Medium
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat
from services.engine.multimodal import check
from services.engine.multimodal.encoder import MediaEncoder
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.processor import MediumRefused
from services.engine.multimodal.prompts import PromptComposer
from tests.services.bench import Result, build, outputs_of, request
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import multimodal_models as tiny


async def test_a_medium_that_cannot_be_encoded_ends_its_own_requests_only(
    llava: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = llava.compose(tiny.picture(9)).media
    assert bad is not None
    own = MediaEncoder.encode

    def encode(self: MediaEncoder, media: list[Medium]) -> list[torch.Tensor]:
        if bad.media[0] in media:
            raise RuntimeError("no")
        return own(self, media)

    monkeypatch.setattr(MediaEncoder, "encode", encode)
    shown = [tiny.picture(i) for i in (1, 9, 2, 9)]
    results = await asyncio.gather(
        *(llava.run(image, "?", max_new_tokens=6) for image in shown), return_exceptions=True
    )
    assert isinstance(results[1], Internal)
    assert isinstance(results[3], Internal)
    for i in (0, 2):
        result = results[i]
        assert isinstance(result, Result)
        assert result.ids == llava.own.generate(shown[i], "?", count=6)
    assert llava.built.engine.admission.requests == 0


async def test_who_leaves_before_the_image_was_encoded_frees_the_place(llava: Rig) -> None:
    prompt = llava.compose(tiny.picture(21))
    asked = request(prompt.token_ids, media=prompt.media)
    streams = [llava.built.engine.submit(asked, *outputs_of(asked)) for _ in range(3)]
    for stream in streams:
        stream.cancel()
    assert (await llava.run(tiny.picture(22), "?", max_new_tokens=4)).ids
    assert llava.built.engine.admission.requests == 0


def chat(*parts: dict[str, str]) -> Chat:
    return Chat([{"role": "user", "content": list(parts)}], [], False)


IMAGE = {"type": "image"}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize("parts", [[text("look: <image>")], [IMAGE, text("and <image> too")]])
def test_texts_that_stand_for_media_are_found(llava: Rig, parts: list[dict[str, str]]) -> None:
    (wrong,) = llava.composer.violations(chat(*parts))
    assert wrong.field == f"prompt.messages[0].parts[{len(parts) - 1}].text"
    assert "'<image>'" in wrong.description


def test_they_are_found_in_reasoning_calls_tools_and_variables_too(llava: Rig) -> None:
    said, holding = [{"type": "text", "text": "x"}], "an <image>"
    turn = {"role": "assistant", "content": said, "reasoning_content": holding, "tool_calls": [{"a": [holding]}]}
    wrong = llava.composer.violations(Chat([turn], [{"b": holding}], False, {"documents": [{"c": holding}]}))
    assert [violation.field for violation in wrong] == [
        "prompt.messages[0].reasoning",
        "prompt.messages[0].tool_calls[0]",
        "prompt.tools[0]",
        "prompt.template_variables_json[documents]",
    ]


@pytest.mark.parametrize("parts", [[text("none")], [IMAGE, IMAGE]])
def test_a_prompt_with_more_or_less_places_than_media_is_refused(llava: Rig, parts: list[dict[str, str]]) -> None:
    assert llava.loaded.media is not None
    medium = llava.loaded.media.read(MediaKind.IMAGE, tiny.picture(1), b"1")
    with pytest.raises(InvalidArgument) as refused:
        llava.composer.compose(chat(*parts), [(MediaKind.IMAGE, medium)])
    assert [violation.field for violation in refused.value.violations] == ["prompt"]


@pytest.mark.parametrize(("name", "halves"), [("gemma3", ("<im", "g>")), ("qwen2_vl", ("<|video_", "pad|>"))])
def test_what_only_the_template_puts_together_is_text(tmp_path: Path, name: str, halves: tuple[str, str]) -> None:
    loaded = load_multimodal_model(Checkpoint(str(tiny.write_checkpoint(tmp_path, name)), torch.device("cpu")))
    assert loaded.media is not None
    composer = PromptComposer(loaded.media, PromptEncoder(loaded.tokenizer, 500), loaded.model)
    prompt = composer.compose(chat(*map(text, halves)), [])
    assert prompt.media is None
    assert "".join(halves) in prompt.rendered
    assert loaded.tokenizer.convert_tokens_to_ids("".join(halves)) not in prompt.token_ids


def test_a_template_of_text_alone_is_given_text(llava: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    known = llava.compose("Look: ", tiny.picture(1), "!")
    tokenizer = llava.loaded.tokenizer
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>{% endfor %}<|assistant|>"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    assert llava.loaded.media is not None
    composer = PromptComposer(llava.loaded.media, PromptEncoder(tokenizer, 500), llava.loaded.model)
    assert known.media is not None
    shown = [(MediaKind.IMAGE, known.media.media[0])]
    prompt = composer.compose(chat(text("Look: "), IMAGE, text("!")), shown)
    assert prompt.rendered == "<|user|>Look: <image>!<end><|assistant|>"
    assert prompt.token_ids == known.token_ids


def test_a_model_whose_results_differ_in_pages_is_run_on_its_own_cache(
    llava_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_multimodal_model(Checkpoint(str(llava_folder), torch.device("cpu")))
    own = MediaEncoder.encode
    monkeypatch.setattr(check.MediaEncoder, "encode", lambda self, media: [1.05 * one for one in own(self, media)])
    built = build(loaded)
    assert built.serial
    assert "prompts with media" in built.reason


async def test_media_that_do_not_fit_together_are_encoded_apart_and_counted(
    llava: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, before = MediaEncoder.encode, llava.metric("oom_total")

    def encode(self: MediaEncoder, media: list[Medium]) -> list[torch.Tensor]:
        if len(media) > 1:
            raise torch.OutOfMemoryError("secret")
        return own(self, media)

    monkeypatch.setattr(MediaEncoder, "encode", encode)
    shown = [tiny.picture(i) for i in (31, 32, 33)]
    results = await llava.run_all(*((image, "?") for image in shown), max_new_tokens=4)
    assert [result.ids for result in results] == [llava.own.generate(image, "?", count=4) for image in shown]
    assert llava.metric("oom_total") > before


async def test_a_medium_that_never_fits_ends_its_own_request_only(llava: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    own = MediaEncoder.encode
    large = llava.compose(tiny.picture(41)).media
    assert large is not None

    def encode(self: MediaEncoder, media: list[Medium]) -> list[torch.Tensor]:
        if large.media[0] in media:
            raise torch.OutOfMemoryError("secret")
        return own(self, media)

    monkeypatch.setattr(MediaEncoder, "encode", encode)
    runs = (llava.run(tiny.picture(i), "?", max_new_tokens=4) for i in (41, 42))
    refused, fine = await asyncio.gather(*runs, return_exceptions=True)
    assert isinstance(refused, DeviceOutOfMemory)
    assert isinstance(fine, Result)


def test_an_image_that_a_processor_on_tensors_cannot_take_is_refused(
    llava: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LFM2-VL's makes tiles of unlike sizes of one that is 2 pixels wide and 60,000 high."""

    def fails(*_: object, **__: object) -> None:
        torch.stack([torch.zeros(4, 2), torch.zeros(9, 2)])

    monkeypatch.setattr(llava.loaded.media, "_processor", fails)
    media = llava.loaded.media
    assert media is not None
    with pytest.raises(MediumRefused, match="cannot be prepared for the model: stack expects"):
        media.read(MediaKind.IMAGE, Image.new("RGB", (2, 60)), b"")
