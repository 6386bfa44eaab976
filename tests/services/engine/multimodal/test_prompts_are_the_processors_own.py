from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from sensorium import InvalidArgument
from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.generation.building.verification import NotPaged
from services.engine.language.chat_template import ChatTemplate
from services.engine.language.texts import Chat
from services.engine.multimodal.check import MediaCheck
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.processor import MediaProcessor
from services.multimodal.config import MultimodalSettings
from services.process import checkpoint_of
from tests.own_multimodal import shown
from tests.services.engine.multimodal.rig import Rig
from tests.tiny import multimodal_models as tiny
from tests.tiny.adapters import pair, write_adapter

# PaliGemma's processor makes arrays of tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def paligemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig.start(tiny.write_checkpoint(tmp_path_factory.mktemp("paligemma"), "paligemma"), "paligemma")
    yield rig
    rig.built.engine.close()


async def test_what_a_processor_writes_besides_is_written_too(paligemma: Rig) -> None:
    first, second, *_ = shown("paligemma")
    for turn in [(first, "What is this?"), ("Both ", first, second, " say")]:
        assert (await paligemma.run(*turn, max_new_tokens=8)).ids == paligemma.own.generate(*turn, count=8)
    with pytest.raises(ValueError, match="`images` are expected"):
        paligemma.own.generate("Only words.")
    with pytest.raises(InvalidArgument, match="shows no image, and this model reads no text without one"):
        paligemma.compose("Only words.")


async def test_a_turn_needs_no_template(paligemma: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = (shown("paligemma")[0], "caption en")
    own = paligemma.own.generate(*turn, count=8, template="{{ '<image>' + messages[0].content[1].text }}")
    assert (await paligemma.run(*turn, max_new_tokens=8)).ids != own
    assert paligemma.loaded.media is not None
    for each in (paligemma.loaded.tokenizer, paligemma.loaded.media._processor):
        monkeypatch.setattr(each, "chat_template", None)
    monkeypatch.setattr(paligemma.composer._encoder, "template", ChatTemplate(paligemma.loaded.tokenizer))
    assert (await paligemma.run(*turn, max_new_tokens=8)).ids == own
    two = [{"role": role, "content": [{"type": "text", "text": "Hello"}]} for role in ("user", "assistant")]
    with pytest.raises(InvalidArgument, match="no chat template"):
        paligemma.composer.compose(Chat(two, tools=[], continue_last=False), [])


async def test_images_share_the_edges_that_touch(tmp_path: Path) -> None:
    rig = Rig.start(tiny.write_checkpoint(tmp_path, "idefics2"), "idefics2")
    try:
        first, second, third, _ = shown("idefics2")
        for turn in [(first, "What is this?"), (first, second, " Both: ", third, "<b>", second), ("Only words.",)]:
            assert (await rig.run(*turn, max_new_tokens=8)).ids == rig.own.generate(*turn, count=8)
    finally:
        rig.built.engine.close()


def test_a_processor_that_writes_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Checkpoint(str(tiny.write_checkpoint(tmp_path, "llava")), torch.device("cpu"))
    own = MediaProcessor.own_inputs

    def another(*asked: Any) -> dict[str, torch.Tensor]:
        inputs = own(*asked)
        return inputs | {"input_ids": torch.cat((inputs["input_ids"], torch.tensor([[60]])), 1)}

    monkeypatch.setattr(MediaProcessor, "own_inputs", another)
    with pytest.raises(ModelRefused, match="other prompts than its own"):
        load_multimodal_model(folder)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("voxtral_realtime", "hears while it writes"),
        ("blip-2", "before every prompt"),
        ("mllama", "beside its tokens"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(tmp_path: Path, kind: str, told: str) -> None:
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match=f"is a {kind} checkpoint: .*{told}"):
        load_multimodal_model(Checkpoint(str(tmp_path), torch.device("cpu")))


def test_adapters_that_are_not_read_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Checkpoint(str(tiny.write_checkpoint(tmp_path, "llava")), torch.device("cpu"))
    load_multimodal_model(folder)
    assert "adapters" not in caplog.text
    (tmp_path / "speech-lora").mkdir()
    (tmp_path / "speech-lora" / "adapter_config.json").write_text("{}")
    load_multimodal_model(folder)
    assert "has adapters in speech-lora, of which none is read" in caplog.text
    assert f"--adapter {tmp_path}/speech-lora merges one" in caplog.text


def test_one_of_its_adapters_is_merged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its layers may be called as in the files of the checkpoint, which are older than the class."""
    base = tiny.write_checkpoint(tmp_path, "llava")
    plain = load_multimodal_model(Checkpoint(str(base), torch.device("cpu"))).model
    layer = "layers.1.self_attn.q_proj"
    weight = plain.get_parameter(f"model.language_model.{layer}.weight")
    name = f"language_model.model.{layer}"
    trained = pair(f"{name}.lora_A.weight", f"{name}.lora_B.weight", (weight.shape[0], weight.shape[1]))
    write_adapter(base / "vision-lora", base, trained)
    settings = MultimodalSettings(model=str(base), adapter=f"{base}/vision-lora", device="cpu")
    merged = load_multimodal_model(checkpoint_of(settings)).model
    change = 1.5 * trained[f"{name}.lora_B.weight"] @ trained[f"{name}.lora_A.weight"]
    torch.testing.assert_close(merged.get_parameter(f"model.language_model.{layer}.weight"), weight + change)
    assert "none is read" not in caplog.text


def test_a_processor_that_fails_is_refused_with_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Checkpoint(str(tiny.write_checkpoint(tmp_path, "llava")), torch.device("cpu"))

    def failing(*_: object) -> dict[str, torch.Tensor]:
        raise AttributeError("there is no rgb_to_grayscale")

    monkeypatch.setattr(MediaProcessor, "own_inputs", failing)
    with pytest.raises(ModelRefused, match="Generation fails: there is no rgb_to_grayscale"):
        load_multimodal_model(folder)


@pytest.mark.parametrize("cached", [True, False], ids=["in pages", "by the model's own cache"])
async def test_images_beside_others_are_prepared_otherwise_than_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    if not cached:
        monkeypatch.setattr(MediaCheck, "verify", _not_paged)
    rig = Rig.start(tiny.write_checkpoint(tmp_path, "llava_onevision"), "llava_onevision")
    first, second, third, _ = shown("llava_onevision")
    turns = [("See ", first), ("See ", first, second), (second, "and", first, third, " now"), (third, "What?")]
    await rig.must_generate_its_own(turns, count=8)


def _not_paged(*_: object) -> None:
    raise NotPaged("as the test wants it")
