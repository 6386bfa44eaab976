from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PretrainedConfig

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.multimodal import task as multimodal
from services.speech import task as speech
from services.text import task as text
from services.vision import task as vision


def checkpoint(folder: Path, model_type: str, architecture: str) -> Checkpoint:
    config: PretrainedConfig = AutoConfig.for_model(model_type)
    config.architectures = [architecture]
    config.save_pretrained(folder)
    return Checkpoint(str(folder), torch.device("cpu"))


@pytest.mark.parametrize(
    ("service", "model_type", "architecture", "told"),
    [
        (vision, "superpoint", "SuperPointForKeypointDetection", r"finds points in an image: no service does that\.$"),
        (vision, "videomae", "VideoMAEForVideoClassification", r"classifies videos: no service does that\.$"),
        (vision, "vivit", "VivitModel", r"reads videos: no service does that\.$"),
        (vision, "vit_mae", "ViTMAEForPreTraining", r"reads a random part of an image: no service does that\.$"),
        (vision, "vit", "ViTForMaskedImageModeling", "guesses hidden parts of an image.* --task embed"),
        (speech, "wav2vec2", "Wav2Vec2ForXVector", r"tells voices apart: no service does that\.$"),
        (speech, "wav2vec2", "Wav2Vec2ForPreTraining", "does only what it was first trained with.* --task embed"),
        (text, "patchtst", "PatchTSTForClassification", r"reads time series: no service does that\.$"),
        (text, "tapas", "TapasForQuestionAnswering", r"answers questions about tables: no service does that\.$"),
        (text, "bert", "BertForMultipleChoice", "chooses among endings of a text.* --task embed"),
    ],
)
def test_with_what_it_is(tmp_path: Path, service: Any, model_type: str, architecture: str, told: str) -> None:
    found = checkpoint(tmp_path, model_type, architecture)
    with pytest.raises(ModelRefused, match=f"was made as {architecture}, which {told}"):
        service.choose_task(found, "auto")
    assert service.choose_task(found, "embed").value == "embed"


def test_by_the_service_of_several_modalities_too() -> None:
    with pytest.raises(ModelRefused, match="compares pages with queries by many vectors"):
        multimodal.choose_task("some/model", "ColPaliForRetrieval", "auto")


@pytest.mark.parametrize(
    ("model_type", "architecture", "task"),
    [
        ("bert", "BertForPreTraining", text.TextTask.FILL_MASK),
        ("t5", "T5EncoderModel", text.TextTask.EMBED),
        ("t5", "T5ForConditionalGeneration", None),
    ],
)
def test_a_text_model_is_served_for_what_its_class_does(
    tmp_path: Path, model_type: str, architecture: str, task: text.TextTask | None
) -> None:
    assert text.choose_task(checkpoint(tmp_path, model_type, architecture), "auto") is task
