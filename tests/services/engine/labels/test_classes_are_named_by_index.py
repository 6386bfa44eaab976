from types import SimpleNamespace
from typing import Any

import pytest

from services.engine.audio.loading import LoadedAudioModel
from services.engine.encoders.loading import LoadedEncoder
from services.engine.images.loading import LoadedVisionModel

KINDS = {
    "ViTForImageClassification": LoadedVisionModel,
    "ViltForQuestionAnswering": LoadedVisionModel,
    "ASTForAudioClassification": LoadedAudioModel,
    "BertForTokenClassification": LoadedEncoder,
}


@pytest.mark.parametrize("architecture", KINDS)
def test_a_name_stays_with_its_index_though_others_are_left_out(architecture: str) -> None:
    """The model has three classes, as many as names, and numbers them from 0."""
    kind: Any = KINDS[architecture]
    config = SimpleNamespace(id2label={2: "cup", 0: "cat", 7: "dog"})
    loaded = object.__new__(kind)
    object.__setattr__(loaded, "model", type(architecture, (), {"config": config})())
    assert loaded.labels == ["cat", "LABEL_1", "cup"]
