"""Image-to-text models are compared with their own `generate` at load, whether paged or serial."""

from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from torch import Tensor

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.generation.building.build import BuiltEngine, EngineSettings, build_engine
from services.engine.loading import LoadedModel
from services.engine.media.image import ImageLimits
from services.engine.media.refusal import ImageRefused
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.media_cache import MediaCache
from services.engine.pictures.families import Blip, EncoderDecoder
from services.engine.pictures.loading import load_picture_model
from services.engine.pictures.reader import PictureReader
from tests.drawn import drawn
from tests.services.engine.media.pictures import encoded, noise
from tests.tiny.picture_models import CONTEXT, write_picture_model
from tests.tiny.vision_models import processor_class

SERIAL = {
    "vit-gpt2": False, "donut": False, "pix2struct": False, "pix2struct-answers": False,
    "trocr": True, "blip": True, "blip-answers": True, "git": True,
}  # fmt: skip


def built(folder: Path, name: str) -> tuple[LoadedModel, BuiltEngine]:
    write_picture_model(folder, name)
    loaded = load_picture_model(Checkpoint(str(folder), torch.device("cpu"), dtype="float32"))
    settings = EngineSettings(max_sequences=4, cache_bytes=8 << 20)
    return loaded, build_engine(loaded, settings, EngineMetrics(CollectorRegistry()))


@pytest.mark.parametrize("name", drawn([*SERIAL], 4))
def test_every_kind_is_run_as_it_can_be(tmp_path: Path, name: str) -> None:
    loaded, engine = built(tmp_path, name)
    assert engine.serial == SERIAL[name], engine.reason
    assert "compared with its own generate" in engine.reason
    assert "\n" not in engine.reason
    assert engine.context_tokens == CONTEXT
    assert 0 < engine.source_tokens == loaded.source_tokens
    assert loaded.parameter_count > sum(each.numel() for each in loaded.generator.parameters()) // 2


@pytest.mark.parametrize(("name", "family"), [("vit-gpt2", EncoderDecoder), ("blip", Blip)])
def test_what_is_taken_apart_wrongly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, family: Any
) -> None:
    encode = family.encode

    def upside_down(self: Any, inputs: dict[str, Tensor]) -> Tensor:
        return -encode(self, inputs)

    monkeypatch.setattr(family, "encode", upside_down)
    with pytest.raises(ModelRefused, match="so it cannot be served exactly"):
        built(tmp_path, name)


def test_pictures_smaller_than_what_the_model_reads_are_read(tmp_path: Path) -> None:
    """As in published GIT checkpoints: the shorter side is resized to the model's size, and the longer one cropped."""
    folder = write_picture_model(tmp_path, "git")
    processor_class("clip")(size={"shortest_edge": 224}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    pictures = load_picture_model(Checkpoint(str(folder), torch.device("cpu"), dtype="float32")).pictures
    assert pictures is not None
    reader = PictureReader(pictures, MediaCache(0), ImageLimits(1 << 20, 1_000_000))
    assert reader.read(encoded(noise(20, 30), "PNG"), "").token_count == pictures.most_tokens(CONTEXT)
    with pytest.raises(ImageRefused, match=r"is 1 × 1000 pixels; .* it would have 50176000, and at most 1000000"):
        reader.read(encoded(noise(1, 1000), "PNG"), "")


def test_a_line_under_a_question_is_refused_before_it_grows(tmp_path: Path) -> None:
    write_picture_model(tmp_path, "pix2struct-answers")
    pictures = load_picture_model(Checkpoint(str(tmp_path), torch.device("cpu"), dtype="float32")).pictures
    assert pictures is not None
    reader = PictureReader(pictures, MediaCache(0), ImageLimits(1 << 20, 1_000_000))
    assert reader.read(encoded(noise(300, 200), "PNG"), "", "what is it").token_count
    for (width, height), question in (((2, 9000), "what is it"), ((9000, 2), "?")):
        with pytest.raises(ImageRefused, match=f"is {width} × {height} pixels; on the way to what the model reads"):
            reader.read(encoded(noise(width, height), "PNG"), "", question)


def test_without_its_font_a_question_cannot_be_written(tmp_path: Path) -> None:
    write_picture_model(tmp_path, "pix2struct-answers")
    (tmp_path / "Arial.TTF").unlink()
    with pytest.raises(ModelRefused, match=r"Arial\.TTF of ybelkada/fonts"):
        load_picture_model(Checkpoint(str(tmp_path), torch.device("cpu")))
