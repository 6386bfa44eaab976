from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForDepthEstimation,
    AutoModelForImageClassification,
    ImageGPTConfig,
    ImageGPTForImageClassification,
    PvtConfig,
    PvtForImageClassification,
    ViTMAEConfig,
    ViTMAEModel,
)

from services.engine.checkpoint import ModelRefused
from services.engine.metrics import EngineMetrics
from services.plain_service import PlainService
from services.vision.app import load
from services.vision.config import VisionSettings
from tests.tiny.joint_models import write_joint_model
from tests.tiny.vision_models import SIDE, processor_class, write_vision_model


def loaded(folder: Path, **changes: Any) -> PlainService:
    settings = VisionSettings(model=str(folder), device="cpu", dtype="float32", **changes)
    return load(settings, EngineMetrics(CollectorRegistry()), lambda: None)  # type: ignore[return-value]


def without(folder: Path, ending: str) -> Path:
    """Removes the weights whose names end with `ending` from a checkpoint."""
    path = folder / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if not name.endswith(ending)}, path)
    return folder


def test_weights_that_are_lacking_are_never_random(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModel)
    with pytest.raises(ModelRefused, match=r"lacks 2 of the model's weights, such as classifier\.bias"):
        loaded(folder, task="classify")
    with pytest.raises(ModelRefused, match=r"such as layernorm\.weight"):
        loaded(without(folder, "layernorm.weight"))
    joint = write_joint_model(tmp_path / "clip", "clip")
    with pytest.raises(ModelRefused, match=r"such as text_projection\.weight"):
        loaded(without(joint, "text_projection.weight"))


def test_a_folder_without_a_processor_is_refused(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModelForImageClassification)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelRefused, match="preprocessor_config"):
        loaded(folder)


def test_a_model_with_more_scores_than_labels_is_refused(tmp_path: Path) -> None:
    """PVT's configuration has a separate number of labels, which can differ from its label names."""
    config = PvtConfig(
        image_size=SIDE, num_encoder_blocks=2, depths=[1, 1], sequence_reduction_ratios=[2, 1], hidden_sizes=[8, 16],
        patch_sizes=[4, 2], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], num_labels=7,
        id2label={0: "cat", 1: "dog"},
    )  # fmt: skip
    PvtForImageClassification(config).save_pretrained(tmp_path)
    processor_class("vit")(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match="gives 7 scores, and its configuration names 2 labels"):
        loaded(tmp_path)


def test_pickled_weights_are_refused_unless_allowed(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "vit", "vit", AutoModelForImageClassification)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelRefused, match="--allow-pickle-weights"):
        loaded(folder)
    loaded(folder, allow_pickle_weights=True).threads.close()


def test_a_model_that_answers_at_random_is_refused(tmp_path: Path) -> None:
    """It masks random parts of each image."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTMAEModel(ViTMAEConfig(**shape, image_size=SIDE, patch_size=8)).save_pretrained(tmp_path)
    processor_class("vit")(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match="answers the same image once this way and once another"):
        loaded(tmp_path, task="embed")


def test_a_processor_that_makes_no_image_of_an_image_is_refused(tmp_path: Path) -> None:
    config = ImageGPTConfig(vocab_size=33, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    ImageGPTForImageClassification(config).save_pretrained(tmp_path)
    processor_class("imagegpt")(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match="processor of ImageGPTForImageClassification fails"):
        loaded(tmp_path)


def test_a_task_the_model_cannot_do_is_refused(tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "dpt", "dpt", AutoModelForDepthEstimation)
    for task in ("transform", "zero-shot-classify"):
        with pytest.raises(ModelRefused, match="cannot be loaded"):
            loaded(folder, task=task)


def test_settings_are_told_by_their_flags() -> None:
    settings = VisionSettings(model="x")
    assert (settings.port, settings.metrics_port, settings.task) == (50052, 9052, "auto")
