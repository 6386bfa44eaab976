"""Tiny random checkpoints of image segmentation models, as `save_pretrained` writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForMaskGeneration,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    BeitConfig,
    BeitImageProcessorPil,
    DetrConfig,
    DetrImageProcessorPil,
    DPTConfig,
    DPTImageProcessorPil,
    Mask2FormerConfig,
    Mask2FormerImageProcessorPil,
    MaskFormerConfig,
    MaskFormerImageProcessorPil,
    MobileViTConfig,
    MobileViTImageProcessorPil,
    OneFormerConfig,
    OneFormerImageProcessorPil,
    OneFormerProcessor,
    PretrainedConfig,
    ResNetConfig,
    Sam2Config,
    Sam2Processor,
    SamConfig,
    SamImageProcessorPil,
    SamProcessor,
    SegformerConfig,
    SegformerImageProcessorPil,
    SwinConfig,
    UperNetConfig,
)
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

from services.engine.images.processor import show_image_processors
from tests.made_once import written_once
from tests.tiny.open_detectors import bert_tokenizer

LABELS = ["sky", "grass", "cat", "cup", "tree"]
QUERIES = 10
THINGS = [2, 3]
"""Indices of the "thing" labels, of which an image may show several instances; the others are "stuff"."""
_NAMED: dict[str, Any] = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
_SIZE = {"height": 64, "width": 64}

Made = tuple[Any, PretrainedConfig, Any]
"""The Auto class, the configuration and the image processor."""


def _swin() -> SwinConfig:
    return SwinConfig(
        image_size=64, window_size=2, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def _segformer(_folder: Path) -> Made:
    config = SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 2], decoder_hidden_size=16,
        **_NAMED,
    )  # fmt: skip
    return AutoModelForSemanticSegmentation, config, SegformerImageProcessorPil(size=_SIZE)


def _mobilevit(_folder: Path) -> Made:
    config = MobileViTConfig(
        image_size=64, hidden_sizes=[16, 16, 16], neck_hidden_sizes=[8, 8, 8, 16, 16, 16, 32], num_attention_heads=2,
        atrous_rates=[2, 3, 4], aspp_out_channels=16, expand_ratio=1.0, **_NAMED,
    )  # fmt: skip
    return (
        AutoModelForSemanticSegmentation,
        config,
        MobileViTImageProcessorPil(size={"shortest_edge": 64}, crop_size=_SIZE, do_center_crop=False),
    )


def _vit() -> dict[str, Any]:
    return {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip


def _beit(_folder: Path) -> Made:
    config = BeitConfig(
        out_indices=[1, 2, 3, 4], use_auxiliary_head=False, pool_scales=[1, 2], semantic_loss_ignore_index=255,
        **_vit(), **_NAMED,
    )  # fmt: skip
    return AutoModelForSemanticSegmentation, config, BeitImageProcessorPil(size=_SIZE, do_center_crop=False)


def _dpt(_folder: Path) -> Made:
    config = DPTConfig(
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, is_hybrid=False,
        use_auxiliary_head=False, **_vit(), **_NAMED,
    )  # fmt: skip
    return AutoModelForSemanticSegmentation, config, DPTImageProcessorPil(size=_SIZE)


def _upernet(_folder: Path) -> Made:
    config = UperNetConfig(
        backbone_config=_swin(), hidden_size=16, use_auxiliary_head=False, pool_scales=[1, 2], **_NAMED
    )
    return AutoModelForSemanticSegmentation, config, SegformerImageProcessorPil(size=_SIZE)


def _maskformer(_folder: Path) -> Made:
    decoder = DetrConfig(
        backbone_config=ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1]), d_model=32,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, num_queries=QUERIES,
    )  # fmt: skip
    config = MaskFormerConfig(
        backbone_config=_swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **_NAMED
    )
    processor = MaskFormerImageProcessorPil(size={"shortest_edge": 48, "longest_edge": 96}, num_labels=len(LABELS))
    return AutoModelForUniversalSegmentation, config, processor


def _mask2former(_folder: Path) -> Made:
    config = Mask2FormerConfig(
        backbone_config=_swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=QUERIES, **_NAMED,
    )  # fmt: skip
    processor = Mask2FormerImageProcessorPil(size=_SIZE, num_labels=len(LABELS))
    return AutoModelForUniversalSegmentation, config, processor


def _oneformer(folder: Path) -> Made:
    folder.mkdir(parents=True, exist_ok=True)
    classes = {str(i): {"name": name, "isthing": int(i in THINGS)} for i, name in enumerate(LABELS)}
    (folder / "classes.json").write_text(json.dumps(classes))
    tokenizer = bert_tokenizer()
    config = OneFormerConfig(
        backbone_config=_swin(), conv_dim=32, mask_dim=32, hidden_dim=32, encoder_feedforward_dim=32, encoder_layers=1,
        decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=QUERIES, task_seq_len=16,
        text_encoder_width=32, text_encoder_context_length=16, text_encoder_num_layers=1,
        text_encoder_vocab_size=1030, text_encoder_proj_layers=1, query_dec_layers=1, common_stride=4,
        is_training=False, **_NAMED,
    )  # fmt: skip
    images = OneFormerImageProcessorPil(
        size={"shortest_edge": 64, "longest_edge": 96}, repo_path=str(folder), class_info_file="classes.json",
        num_text=4, num_labels=len(LABELS),
    )  # fmt: skip
    processor = OneFormerProcessor(images, tokenizer, max_seq_length=16, task_seq_length=16)
    return AutoModelForUniversalSegmentation, config, processor


def _detr(_folder: Path) -> Made:
    config = DetrConfig(
        backbone_config=ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        d_model=64, encoder_layers=1, decoder_layers=1, encoder_attention_heads=8, decoder_attention_heads=8,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=QUERIES, **_NAMED,
    )  # fmt: skip
    return AutoModelForUniversalSegmentation, config, DetrImageProcessorPil(size=_SIZE)


def _sam(_folder: Path) -> Made:
    config = SamConfig(
        vision_config={
            "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8, "mlp_dim": 32, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16, "image_size": 64, "patch_size": 8, "image_embedding_size": 8, "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    images = SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size=_SIZE, mask_size={"longest_edge": 32}, mask_pad_size=_SIZE
    )
    return AutoModelForMaskGeneration, config, SamProcessor(images)


def _sam2(_folder: Path) -> Made:
    show_image_processors()
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [128, 128],
                "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2],
            },
            "backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    images: Any = get_image_processor_class_from_name("Sam2ImageProcessor")
    return (
        AutoModelForMaskGeneration,
        config,
        Sam2Processor(images(size={"height": 128, "width": 128})),
    )


_MAKERS: dict[str, Callable[[Path], Made]] = {
    "segformer": _segformer, "mobilevit": _mobilevit, "beit": _beit, "dpt": _dpt, "upernet": _upernet,
    "maskformer": _maskformer, "mask2former": _mask2former,
    "oneformer": _oneformer, "detr": _detr, "sam": _sam, "sam2": _sam2,
}  # fmt: skip


@written_once
def write_segmenter(folder: Path, name: str, *, seed: int = 0, noise: float = 0.2) -> Path:
    """Writes a random model of the architecture `name` with its processor."""
    auto_class, config, processor = _MAKERS[name](folder)
    torch.manual_seed(seed)
    model = auto_class.from_config(config)
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            # With default weights, all queries would find nearly the same segment.
            apart = 10 if "quer" in part and parameter.shape[:1] == (QUERIES,) else 1
            parameter.add_(torch.randn_like(parameter) * noise * apart)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
