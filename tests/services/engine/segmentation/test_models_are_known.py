import pytest
from transformers import (
    AutoModelForMaskGeneration,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    DetrConfig,
    EomtConfig,
    PretrainedConfig,
    Sam2VideoConfig,
    Sam3Config,
    SamConfig,
    SegformerConfig,
    ViTConfig,
)

from services.engine.checkpoint import ModelRefused
from services.engine.segmentation.models import segmentation_class
from services.engine.segmentation.upscaling import logit


def test_each_kind_is_loaded_for_what_it_does() -> None:
    assert segmentation_class(SegformerConfig()) is AutoModelForSemanticSegmentation
    assert segmentation_class(DetrConfig()) is AutoModelForUniversalSegmentation
    assert segmentation_class(SamConfig()) is AutoModelForMaskGeneration
    assert segmentation_class(Sam2VideoConfig()) is AutoModelForMaskGeneration


@pytest.mark.parametrize("config", [EomtConfig(), Sam3Config(), ViTConfig()], ids=lambda config: config.model_type)
def test_other_kinds_are_refused_by_name(config: PretrainedConfig) -> None:
    with pytest.raises(ModelRefused, match=f"of the kind {config.model_type} .* Known are detr, maskformer"):
        segmentation_class(config)


def test_a_logit_may_be_infinite() -> None:
    assert logit(0.0) == -float("inf")
    assert logit(1.0) == float("inf")
    assert logit(0.5) == 0.0
