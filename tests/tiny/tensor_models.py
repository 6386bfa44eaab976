"""Tiny random checkpoints of multimodal models whose image processors transformers implements with torchvision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import processor_class_from_name
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from services.engine.images.processor import show_image_processors
from services.engine.multimodal.processor_class import without_video
from tests.made_once import written_once
from tests.tiny.language_models import END_ID
from tests.tiny.multimodal_models import extended, random_model

_LAYERS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_TOKENS = {
    "mistral3": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"],
    "llama4": [
        "<|image|>",
        "<|image_start|>",
        "<|image_end|>",
        "<|patch|>",
        "<|tile_x_separator|>",
        "<|tile_y_separator|>",
    ],
    "phi4_multimodal": ["<|endoftext10|>", "<|endoftext11|>"],
}
"""Media placeholders of prompts; the template writes the first one for an image."""
_TOKENS["gemma4"] = ["<|image|>", "<|audio|>", "<|image>", "<image|>", "<|audio>", "<audio|>", "<|video|>"]
_TOKENS["video_llava"] = ["<image>", "<video>"]
_TOKENS["qwen2_5_omni"] = ["<|IMAGE|>", "<|AUDIO|>", "<|VIDEO|>", "<|vb|>", "<|ve|>", "<|ab|>", "<|ae|>"]
_TOKENS["pixtral"] = _TOKENS["mistral3"]
_NAMED: dict[str, dict[str, str]] = {
    "qwen2_5_omni": {
        "image_token": "<|IMAGE|>",
        "audio_token": "<|AUDIO|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vb|>",
        "vision_eos_token": "<|ve|>",
        "audio_bos_token": "<|ab|>",
        "audio_eos_token": "<|ae|>",
    },
    "gemma4": {
        "image_token": "<|image|>",
        "audio_token": "<|audio|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    },
    "phi4_multimodal": {"image_token": "<|endoftext10|>", "audio_token": "<|endoftext11|>"},
}


def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    return extended(_TOKENS[name], _NAMED.get(name, {}))


def _id(name: str, token: str) -> int:
    found = _tokenizer(name).convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def _text(name: str, **more: Any) -> dict[str, Any]:
    return _LAYERS | {
        "vocab_size": len(_tokenizer(name)), "num_key_value_heads": 2, "max_position_embeddings": 2048,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END_ID, "tie_word_embeddings": False,
    } | more  # fmt: skip


CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "mistral3": lambda: transformers.Mistral3Config(
        vision_config=_LAYERS | {"model_type": "pixtral", "image_size": 64, "patch_size": 8, "head_dim": 8},
        text_config=_text("mistral3", model_type="mistral", head_dim=8, sliding_window=None),
        image_token_index=_id("mistral3", "[IMG]"), tie_word_embeddings=False,
    ),
    # A LLaVA with another processor.
    "pixtral": lambda: transformers.LlavaConfig(
        vision_config=_LAYERS | {"model_type": "pixtral", "image_size": 64, "patch_size": 8, "head_dim": 8},
        text_config=_text("pixtral", model_type="mistral", head_dim=8, sliding_window=None),
        image_token_index=_id("pixtral", "[IMG]"), vision_feature_layer=-1, vision_feature_select_strategy="full",
    ),
    "llama4": lambda: transformers.Llama4Config(
        vision_config=_LAYERS
        | {
            "intermediate_size": 128, "vision_output_dim": 32, "image_size": 56, "patch_size": 14,
            "projector_input_dim": 32, "projector_output_dim": 32,
        },
        text_config=_text("llama4", head_dim=8, intermediate_size_mlp=64, num_local_experts=2, attention_chunk_size=64),
        image_token_index=_id("llama4", "<|patch|>"), boi_token_index=_id("llama4", "<|image_start|>"),
        eoi_token_index=_id("llama4", "<|image_end|>"),
    ),
    # Its processor's arguments have the video part before the tokenizer.
    "video_llava": lambda: transformers.VideoLlavaConfig(
        vision_config=_LAYERS | {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8},
        text_config=_text("video_llava", model_type="llama"), tie_word_embeddings=False,
        image_token_index=_id("video_llava", "<image>"), video_token_index=_id("video_llava", "<video>"),
    ),
    # Only the "thinker", which generates text.
    "qwen2_5_omni": lambda: transformers.Qwen2_5OmniThinkerConfig(
        audio_config={
            "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "output_dim": 32,
            "num_mel_bins": 16,
        },
        vision_config={
            "depth": 2, "num_heads": 4, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32,
            "window_size": 56, "fullatt_block_indexes": [1],
        },
        text_config=_text(
            "qwen2_5_omni", rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}
        ),
        image_token_index=_id("qwen2_5_omni", "<|IMAGE|>"), audio_token_index=_id("qwen2_5_omni", "<|AUDIO|>"),
        video_token_index=_id("qwen2_5_omni", "<|VIDEO|>"), vision_start_token_id=_id("qwen2_5_omni", "<|vb|>"),
        vision_end_token_id=_id("qwen2_5_omni", "<|ve|>"), audio_start_token_id=_id("qwen2_5_omni", "<|ab|>"),
        audio_end_token_id=_id("qwen2_5_omni", "<|ae|>"),
    ),
    # Reads no audio, though its processor has parts for audio and video.
    "gemma4": lambda: transformers.Gemma4Config(
        text_config=_text(
            "gemma4", head_dim=8, global_head_dim=8, hidden_size_per_layer_input=8, sliding_window=64,
            vocab_size_per_layer_input=len(_tokenizer("gemma4")), layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config=_LAYERS | {"num_key_value_heads": 4, "head_dim": 8, "position_embedding_size": 512},
        image_token_id=_id("gemma4", "<|image|>"), boi_token_id=_id("gemma4", "<|image>"),
        eoi_token_id=_id("gemma4", "<image|>"), audio_token_id=_id("gemma4", "<|audio|>"),
        boa_token_id=_id("gemma4", "<|audio>"), video_token_id=_id("gemma4", "<|video|>"),
    ),
    # Reads images and recordings.
    "phi4_multimodal": lambda: transformers.Phi4MultimodalConfig(
        **_text("phi4_multimodal", original_max_position_embeddings=2048),
        vision_config=_LAYERS | {"image_token_id": _id("phi4_multimodal", "<|endoftext10|>")},
        audio_config={
            "hidden_size": 32, "intermediate_size": 64, "num_blocks": 2, "num_attention_heads": 4,
            "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "nemo_conv_channels": 32,
            "audio_token_id": _id("phi4_multimodal", "<|endoftext11|>"),
        },
    ),
}  # fmt: skip


def processor(name: str) -> Any:
    """Returns the processor of model `name`."""
    show_image_processors()
    image: Any
    tokens: dict[str, Any] = {"tokenizer": _tokenizer(name), "chat_template": _template(name)}
    if name == "llama4":
        image = _shown("Llama4ImageProcessor")(size={"height": 56, "width": 56}, max_patches=4)
        return transformers.Llama4Processor(image, patch_size=14, **tokens)
    if name == "phi4_multimodal":
        image = _shown("Phi4MultimodalImageProcessor")(dynamic_hd=2)
        return transformers.Phi4MultimodalProcessor(image, transformers.Phi4MultimodalFeatureExtractor(), **tokens)
    if name == "gemma4":
        hearing, image = transformers.Gemma4AudioFeatureExtractor(), Gemma4ImageProcessorPil(max_soft_tokens=70)
        return without_video(transformers.Gemma4Processor)(hearing, image, video_processor=None, **tokens)
    if name == "qwen2_5_omni":
        image = Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16})
        hearing = transformers.WhisperFeatureExtractor(feature_size=16)
        return without_video(transformers.Qwen2_5OmniProcessor)(image, None, hearing, **tokens)
    if name == "video_llava":
        image = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        patches = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
        return without_video(transformers.VideoLlavaProcessor)(image, None, **tokens, **patches)
    image = PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8})
    named: Any = processor_class_from_name("PixtralProcessor")
    return named(image, patch_size=8, spatial_merge_size=2 if name == "mistral3" else 1, **tokens)


def _shown(name: str) -> Any:
    return get_image_processor_class_from_name(name)


def _template(name: str) -> str:
    """Returns a chat template that concatenates the parts of each turn."""
    image, *others = _TOKENS[name]
    return (
        "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}"
        "{% elif p.type == 'image' %}" + image + "{% else %}" + others[0] + "{% endif %}{% endfor %}<end>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )


@written_once
def write_checkpoint(folder: Path, name: str) -> Path:
    """Writes the random model `name` with its processor to `folder` and returns it."""
    model = random_model(CONFIGS[name]())
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder
