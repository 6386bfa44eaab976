import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, PretrainedConfig

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.vision.task import VisionTask, choose_task


def checkpoint(folder: Path, model_type: str, architecture: str | None) -> Checkpoint:
    config: PretrainedConfig = AutoConfig.for_model(model_type)
    config.architectures = None if architecture is None else [architecture]
    config.save_pretrained(folder)
    return Checkpoint(str(folder), torch.device("cpu"))


@pytest.mark.parametrize(
    ("model_type", "architecture", "task"),
    [
        ("vit", "ViTForImageClassification", VisionTask.CLASSIFY),
        ("deit", "DeiTForImageClassificationWithTeacher", VisionTask.CLASSIFY),
        ("clip", "CLIPModel", VisionTask.ZERO_SHOT_CLASSIFY),
        ("siglip", "SiglipModel", VisionTask.ZERO_SHOT_CLASSIFY),
        ("siglip", "SiglipForImageClassification", VisionTask.CLASSIFY),
        ("yolos", "YolosForObjectDetection", VisionTask.DETECT),
        ("owlvit", "OwlViTForObjectDetection", VisionTask.ZERO_SHOT_DETECT),
        ("segformer", "SegformerForSemanticSegmentation", VisionTask.SEGMENT),
        ("mask2former", "Mask2FormerForUniversalSegmentation", VisionTask.SEGMENT),
        ("sam", "SamModel", VisionTask.SEGMENT),
        ("sam2_video", "Sam2VideoModel", VisionTask.SEGMENT),
        ("dpt", "DPTForDepthEstimation", VisionTask.ESTIMATE_DEPTH),
        ("dpt", "DPTForSemanticSegmentation", VisionTask.SEGMENT),
        ("swin2sr", "Swin2SRForImageSuperResolution", VisionTask.TRANSFORM),
        ("dinov2", "Dinov2Model", VisionTask.EMBED),
    ],
)
def test_a_checkpoint_is_served_for_what_it_was_made(
    tmp_path: Path, model_type: str, architecture: str, task: VisionTask
) -> None:
    found = checkpoint(tmp_path, model_type, architecture)
    assert choose_task(found, "auto") is task
    assert choose_task(found, "embed") is VisionTask.EMBED


@pytest.mark.parametrize("architecture", ["BertModel", None])
def test_what_tells_no_vision_task_is_refused(tmp_path: Path, architecture: str | None) -> None:
    with pytest.raises(ModelRefused, match="--task chooses one"):
        choose_task(checkpoint(tmp_path, "bert", architecture), "auto")


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        choose_task(Checkpoint(str(tmp_path), torch.device("cpu")), "auto")
