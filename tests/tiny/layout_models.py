"""Tiny random checkpoints of multimodal models whose processors lay out prompts or inputs in special ways."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerFast, ProcessorMixin
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from services.engine.images.processor import show_image_processors
from services.engine.multimodal.processor_class import without_video
from tests.made_once import written_once
from tests.tiny.language_models import END_ID
from tests.tiny.multimodal_models import extended, random_model

_MOLMO2_PARTS = ("im_patch", "im_col", "im_start", "low_res_im_start", "frame_start", "im_end", "frame_end", "im_low")
_NAMED: dict[str, dict[str, str]] = {
    "qianfan_ocr": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "placeholder": "<image>",
    },
    "hunyuan_vl": {"image_token": "<image>", "image_start_token": "<im_start>", "image_end_token": "<im_end>"},
    "minicpmv4_6": {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "image_start_token": "<image>",
        "image_end_token": "</image>",
        "slice_start_token": "<slice>",
        "slice_end_token": "</slice>",
        "image_id_start_token": "<image_id>",
        "image_id_end_token": "</image_id>",
    },
    "ernie4_5_vl_moe": {
        "image_token": "<|IMAGE_PLACEHOLDER|>",
        "image_start_token": "<|IMAGE_START|>",
        "image_end_token": "<|IMAGE_END|>",
        "video_token": "<|video@placeholder|>",
        "video_start_token": "<|VIDEO_START|>",
        "video_end_token": "<|VIDEO_END|>",
    },
    "molmo2": {
        "image_token": "<|image|>",
        "video_token": "<|video|>",
        **{part: f"<{part}>" for part in _MOLMO2_PARTS},
    },
    "got_ocr2": {"image_token": "<imgpad>", "start": "<img>", "end": "</img>"},
}
"""Tokens by the names under which a processor looks them up in its tokenizer."""
_IN_TEMPLATE = {
    "qianfan_ocr": "<image>",
    "hunyuan_vl": "<im_start><image><im_end>",
    "minicpmv4_6": "<|image_pad|>",
    "ernie4_5_vl_moe": "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
    "molmo2": "<|image|>",
    "got_ocr2": "<img><imgpad></img>",
}
_IDS = {
    "qianfan_ocr": {"image_token_id": "<IMG_CONTEXT>"},
    "hunyuan_vl": {"image_token_id": "<image>", "im_start_id": "<im_start>", "im_end_id": "<im_end>"},
    "minicpmv4_6": {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"},
    "ernie4_5_vl_moe": {f"{name}_id": token for name, token in _NAMED["ernie4_5_vl_moe"].items()},
    "molmo2": {
        "image_start_token_id": "<im_start>",
        "low_res_image_start_token_id": "<low_res_im_start>",
        "image_end_token_id": "<im_end>",
        "image_patch_id": "<im_patch>",
        "frame_start_token_id": "<frame_start>",
        "frame_end_token_id": "<frame_end>",
    },
    "got_ocr2": {"image_token_index": "<imgpad>"},
}
_LAYERS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_HEADS = {"num_key_value_heads": 4, "head_dim": 8}
_ROPE = {"rope_theta": 10_000.0}
_TEXT: dict[str, dict[str, Any]] = {
    "qianfan_ocr": {"model_type": "qwen3", "head_dim": 8},
    "hunyuan_vl": {
        "head_dim": 16,
        "rope_parameters": _ROPE
        | {"rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0, "mrope_section": [2, 2, 2, 2]},
    },
    "minicpmv4_6": {
        "model_type": "qwen3_5_text",
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
    },
    "ernie4_5_vl_moe": {
        "moe_intermediate_size": [32, 16],
        "moe_num_experts": 4,
        "moe_k": 2,
        "mlp_layer_types": ["dense", "sparse"],
        "rope_parameters": _ROPE | {"rope_type": "default", "mrope_section": [1, 1, 2]},
    },
    "molmo2": {"head_dim": 8, "additional_vocab_size": 16},
    "got_ocr2": {"model_type": "qwen2"},
}
_VISION: dict[str, dict[str, Any]] = {
    "qianfan_ocr": _LAYERS | {"image_size": [32, 32], "patch_size": [8, 8]},
    "hunyuan_vl": _LAYERS
    | {"num_key_value_heads": 4, "out_hidden_size": 32, "patch_size": 16, "max_image_size": 128, "min_image_size": 32},
    "minicpmv4_6": _LAYERS | {"image_size": 112, "patch_size": 14},
    "ernie4_5_vl_moe": {"depth": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 64, "patch_size": 14},
    "molmo2": _LAYERS | _HEADS | {"image_size": [28, 28], "patch_size": 7, "num_position_embeddings": 16},
    "got_ocr2": _LAYERS | {"image_size": 64, "window_size": 2, "global_attn_indexes": [1], "output_channels": 16},
}
_MORE: dict[str, dict[str, Any]] = {
    "qianfan_ocr": {"image_seq_length": 4},
    "minicpmv4_6": {"insert_layer_id": 0, "image_size": 56},
    "molmo2": {
        "adapter_config": _HEADS
        | {
            "vision_feature_layer": [-1, -2],
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "text_hidden_size": 32,
        }
    },
}
_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    "qianfan_ocr": ("GotOcr2ImageProcessorPil", {"size": {"height": 32, "width": 32}, "max_patches": 4}),
    "hunyuan_vl": ("HunYuanVLImageProcessorPil", {"size": {"shortest_edge": 64**2, "longest_edge": 128**2}}),
    "minicpmv4_6": ("MiniCPMV4_6ImageProcessorPil", {"scale_resolution": 56, "max_slice_nums": 4}),
    "ernie4_5_vl_moe": (
        "Ernie4_5_VLMoeImageProcessorPil",
        {"size": {"shortest_edge": 28**2, "longest_edge": 28**2 * 16}},
    ),
    "molmo2": (
        "Molmo2ImageProcessor",
        {
            "size": {"height": 28, "width": 28},
            "max_crops": 3,
            "overlap_margins": [1, 1],
            "patch_size": 7,
            "pooling_size": [2, 2],
        },
    ),
    "got_ocr2": ("GotOcr2ImageProcessorPil", {"size": {"height": 64, "width": 64}}),
}
NAMES = [name for name in _TEXT if name in CONFIG_MAPPING]
"""Only those that the installed transformers has."""


def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    return extended(list(_NAMED[name].values()), _NAMED[name])


def _config(name: str) -> PretrainedConfig:
    tokenizer = _tokenizer(name)
    ids = {field: tokenizer.convert_tokens_to_ids(token) for field, token in _IDS[name].items()}
    text = _LAYERS | {
        "vocab_size": len(tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 1024, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": END_ID, "tie_word_embeddings": False,
    }  # fmt: skip
    parts = {"text_config": text | _TEXT[name], "vision_config": _VISION[name]}
    kind: Any = CONFIG_MAPPING[name]
    return kind(**parts, **ids, **_MORE.get(name, {}), tie_word_embeddings=False)


def processor(name: str) -> Any:
    """Returns the processor of model `name`."""
    show_image_processors()
    kind, shape = _READERS[name]
    image: Any = get_image_processor_class_from_name(kind)
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}"
        "{% else %}" + _IN_TEMPLATE[name] + "{% endif %}{% endfor %}<end>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    more = {"image_seq_length": 4} if name == "qianfan_ocr" else {}
    kinds: Any = PROCESSOR_MAPPING
    return without_video(kinds[CONFIG_MAPPING[name]])(
        image_processor=image(**shape), tokenizer=_tokenizer(name), chat_template=template, **more
    )


@written_once
def write_checkpoint(folder: Path, name: str) -> Path:
    """Writes the random model `name` with its processor to `folder` and returns it."""
    model = random_model(_config(name))
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    # Not the class's own `save_pretrained`: ERNIE's would copy a font that it uses for videos.
    ProcessorMixin.save_pretrained(processor(name), folder)
    return folder
