"""Tiny random checkpoints of object detectors, as `save_pretrained` writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForObjectDetection,
    ConditionalDetrConfig,
    ConditionalDetrImageProcessorPil,
    DeformableDetrConfig,
    DeformableDetrImageProcessorPil,
    DetrConfig,
    DetrImageProcessorPil,
    DFineConfig,
    HGNetV2Config,
    PretrainedConfig,
    ResNetConfig,
    RTDetrConfig,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
    YolosConfig,
    YolosImageProcessorPil,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from services.engine.images.processor import show_image_processors
from tests.made_once import written_once

LABELS = ["a cat", "a dog", "a cup", "a tree"]
_NAMED: dict[str, Any] = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
_SMALL: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 12,
}  # fmt: skip


def _rt_detr() -> tuple[PretrainedConfig, Any]:
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_in_channels=[16, 24, 32], encoder_hidden_dim=32, num_denoising=0,
        decoder_in_channels=[32, 32, 32], hidden_expansion=0.5, **_SMALL, **_NAMED,
    )  # fmt: skip
    return config, RTDetrImageProcessorPil(size={"height": 64, "width": 64})


def _yolos() -> tuple[PretrainedConfig, Any]:
    config = YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=[64, 96],
        patch_size=16, num_detection_tokens=12, **_NAMED,
    )  # fmt: skip
    return config, YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def _detr() -> tuple[PretrainedConfig, Any]:
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    config = DetrConfig(backbone_config=backbone, **_SMALL, **_NAMED)
    return config, DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def _conditional_detr() -> tuple[PretrainedConfig, Any]:
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    config = ConditionalDetrConfig(backbone_config=backbone, **_SMALL, **_NAMED)
    return config, ConditionalDetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def _deformable_detr() -> tuple[PretrainedConfig, Any]:
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = DeformableDetrConfig(backbone_config=backbone, **_SMALL | {"d_model": 64}, **_NAMED)
    return config, DeformableDetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def _d_fine() -> tuple[PretrainedConfig, Any]:
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 16, 24], stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 16, 24, 32], stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[16, 16, 24, 32], depths=[1, 1, 1, 1], embedding_size=8,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = DFineConfig(
        backbone_config=backbone, encoder_in_channels=[16, 24, 32], encoder_hidden_dim=32, num_denoising=0,
        decoder_in_channels=[32, 32, 32], hidden_expansion=0.5, decoder_n_points=[2, 2, 2], **_SMALL, **_NAMED,
    )  # fmt: skip
    return config, RTDetrImageProcessorPil(size={"height": 64, "width": 64})


def _rf_detr() -> tuple[PretrainedConfig, Any]:
    kind, backbone = CONFIG_MAPPING["rf_detr"], CONFIG_MAPPING["rf_detr_dinov2"]
    config = kind(
        backbone_config=backbone(
            hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=64, patch_size=8, num_windows=2,
            out_indices=[2, 4],
        ),
        d_model=32, decoder_layers=2, decoder_ffn_dim=32, decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2, num_queries=12, group_detr=1, intermediate_size=32, **_NAMED,
    )  # fmt: skip
    return config, tensor_processor("RfDetrImageProcessor")


def _pp_doclayout_v2() -> tuple[PretrainedConfig, Any]:
    like, _ = _d_fine()
    reading_order = {
        "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2,
        "coordinate_size": 6, "shape_size": 4, "global_pointer_head_size": 16,
    }  # fmt: skip
    config = CONFIG_MAPPING["pp_doclayout_v2"](
        backbone_config=like.backbone_config, encoder_in_channels=[16, 24, 32], encoder_hidden_dim=32, num_denoising=0,
        decoder_in_channels=[32, 32, 32], hidden_expansion=0.5, class_thresholds=[0.3] * 4, class_order=[0, 1, 2, 3],
        reading_order_config=reading_order,
        **_SMALL, **_NAMED,
    )  # fmt: skip
    return config, tensor_processor("PPDocLayoutV2ImageProcessor")


def tensor_processor(name: str) -> Any:
    """Returns an image processor of a class that transformers implements only with torchvision."""
    show_image_processors()
    kind: Any = get_image_processor_class_from_name(name)
    return kind(size={"height": 64, "width": 64})


_MAKERS: dict[str, Callable[[], tuple[PretrainedConfig, Any]]] = {
    "rt_detr": _rt_detr,
    "yolos": _yolos,
    "detr": _detr,
    "conditional_detr": _conditional_detr,
    "deformable_detr": _deformable_detr,
    "d_fine": _d_fine,
    "rf_detr": _rf_detr,
    "pp_doclayout_v2": _pp_doclayout_v2,
}
NAMES = [name for name in _MAKERS if name in CONFIG_MAPPING]
"""Only those that the installed transformers has."""


@written_once
def write_detector(folder: Path, name: str, *, seed: int = 0, noise: float = 0.3) -> Path:
    """Writes a random model of the architecture `name` with its image processor."""
    config, processor = _MAKERS[name]()
    torch.manual_seed(seed)
    model = AutoModelForObjectDetection.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # with default weights, all detections are nearly equal
            parameter.add_(torch.randn_like(parameter) * noise)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
