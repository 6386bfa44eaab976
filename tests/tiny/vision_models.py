"""Tiny random checkpoints of vision models, as `save_pretrained` writes them, with their processors."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BeitConfig,
    ConvNextConfig,
    DepthAnythingConfig,
    DepthProConfig,
    Dinov2Config,
    DPTConfig,
    GLPNConfig,
    PretrainedConfig,
    ResNetConfig,
    Swin2SRConfig,
    SwinConfig,
    ViTConfig,
)
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from services.engine.images.processor import show_image_processors
from tests.made_once import written_once

SIDE = 32
"""Height and width of the images that most models read."""

_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_VIT: dict[str, Any] = _LAYERS | {"image_size": SIDE, "patch_size": 8}

Maker = tuple[str, dict[str, Any], Callable[..., PretrainedConfig]]
"""Name of the processor, its settings, and the maker of the configuration."""

_SQUARE = {"size": {"height": SIDE, "width": SIDE}}
_CROPPED = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
_PARTS_OF_DEPTH_PRO = ("image_model_config", "patch_model_config", "fov_model_config")
_MAKERS: dict[str, Maker] = {
    "vit": ("vit", _SQUARE, lambda **more: ViTConfig(**_VIT, **more)),
    "beit": ("beit", _SQUARE | {"do_center_crop": False}, lambda **more: BeitConfig(**_VIT, **more)),
    "swin": (
        "vit",
        _SQUARE,
        lambda **more: SwinConfig(
            image_size=SIDE, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4, **more
        ),
    ),
    "resnet": (
        "convnext",
        {"size": {"shortest_edge": SIDE}},
        lambda **more: ResNetConfig(
            embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="bottleneck", **more
        ),
    ),
    "convnext": (
        "convnext",
        {"size": {"shortest_edge": SIDE}},
        lambda **more: ConvNextConfig(hidden_sizes=[16, 32], depths=[1, 1], num_stages=2, **more),
    ),
    "dpt": (
        "dpt",
        _SQUARE,
        lambda **more: DPTConfig(
            **_VIT | {"num_hidden_layers": 4}, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 16, 16],
            fusion_hidden_size=16, is_hybrid=False, reassemble_factors=[4, 2, 1, 0.5], **more,
        ),
    ),
    "depth_anything": (
        "dpt",
        _SQUARE | {"keep_aspect_ratio": True, "ensure_multiple_of": 8},
        lambda **more: DepthAnythingConfig(
            backbone_config=Dinov2Config(**_VIT, out_indices=[1, 2], reshape_hidden_states=False),
            patch_size=8, reassemble_hidden_size=32, reassemble_factors=[2, 1], neck_hidden_sizes=[16, 16],
            fusion_hidden_size=16, head_hidden_size=8, **more,
        ),
    ),
    "glpn": (
        "glpn",
        {"size_divisor": 8},
        lambda **more: GLPNConfig(
            num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
            strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=8, **more,
        ),
    ),
    # Also predicts the camera's field of view, which scales depths to metres.
    "depth_pro": (
        "depth_pro",
        {"size": {"height": 128, "width": 128}},
        lambda **more: DepthProConfig(
            **{part: {**_VIT, "model_type": "dinov2", "image_size": 32} for part in _PARTS_OF_DEPTH_PRO}, patch_size=32,
            use_fov_model=True, num_fov_head_layers=1, fusion_hidden_size=16, intermediate_hook_ids=[1, 0],
            intermediate_feature_dims=[16, 16], scaled_images_feature_dims=[32, 32, 16], **more,
        ),
    ),
    "swin2sr": (
        "swin2sr",
        {},
        lambda **more: Swin2SRConfig(
            image_size=16, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=4, mlp_ratio=2.0, **more
        ),
    ),
    "dinov2": ("bit", _CROPPED, lambda **more: Dinov2Config(**_VIT | {"mlp_ratio": 2}, **more)),
}  # fmt: skip


def processor_class(name: str) -> Any:
    """Returns the Pillow image processor for the kind of model `name`, or the tensor one if there is no other."""
    if name == "depth_pro":
        show_image_processors()
        return get_image_processor_class_from_name("DepthProImageProcessor")
    module = importlib.import_module(f"transformers.models.{name}.image_processing_pil_{name}")
    (found,) = (value for key, value in vars(module).items() if key.endswith("ImageProcessorPil"))
    return found


@written_once
def write_vision_model(folder: Path, name: str, auto_class: Any, *, seed: int = 0, **config: Any) -> Path:
    """Writes a random model of the architecture `name` with the head of `auto_class`, and its processor."""
    processor, settings, make_config = _MAKERS[name]
    torch.manual_seed(seed)
    model = auto_class.from_config(make_config(**config))
    stir(model)
    model.save_pretrained(folder)
    processor_class(processor)(**settings).save_pretrained(folder)
    return folder


def stir(model: torch.nn.Module) -> None:
    """Enlarges the weights: with default ones, all outputs are nearly equal."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
            if name in {"head.head.4.bias", "head.conv3.bias"}:
                parameter.fill_(1.0)  # above 0, as depth models end with a ReLU
            if name == "head.layers.4.weight":
                parameter.mul_(1e-3)  # Depth Pro's depth is the inverse, capped at 10 000
            if name == "fov_model.head.layers.2.bias":
                parameter.fill_(60.0)  # field of view in degrees
