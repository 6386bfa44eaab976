"""Tiny random checkpoints of multimodal models new in transformers 5.24, with their processors."""

from pathlib import Path
from typing import Any

import transformers
from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import processor_class_from_name

from services.engine.images.processor import show_image_processors
from services.engine.multimodal.processor_class import without_video
from tests.made_once import written_once
from tests.tiny.language_models import END_ID
from tests.tiny.multimodal_models import extended, random_model

NAMES = [name for name in ("cosmos3_edge", "inkling_mm_model", "inkling2") if name in CONFIG_MAPPING]
_INKLINGS = ["<|unused_200054|>", "<|unused_200053|>", "<|content_image|>", "<|content_audio_input|>"]
_TOKENS = {
    "cosmos3_edge": ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"],
    "inkling_mm_model": _INKLINGS,
    "inkling2": _INKLINGS,
}
"""The first is the placeholder of an image in prompts; Inkling's second is that of a recording."""
_LAYERS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}

_INKLING: dict[str, Any] = {
    "swa_head_dim": 8, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "d_rel": 8, "rel_extent": 32,
    "layer_types": ["hybrid_sliding", "hybrid"], "sliding_window_size": 16, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 32,
}  # fmt: skip


def _tokenizer(name: str) -> PreTrainedTokenizerFast:
    return extended(_TOKENS[name], {})


def _ids(name: str, *fields: str) -> dict[str, int]:
    return dict(zip(fields, map(_tokenizer(name).convert_tokens_to_ids, _TOKENS[name]), strict=False))


def _text(name: str, **more: Any) -> dict[str, Any]:
    return {**_LAYERS, "vocab_size": len(_tokenizer(name)), "num_key_value_heads": 2, "head_dim": 8, **more}


def _config(name: str) -> PretrainedConfig:
    if name == "cosmos3_edge":
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
        ids = _ids(name, "image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
        text = _text(name, rope_parameters=rope, max_position_embeddings=512)
        return CONFIG_MAPPING[name](
            text_config=text, vision_config=_LAYERS | {"num_patches": 16}, projector_hidden_size=32, **ids
        )
    if name == "inkling2":
        text = _text(name, n_layers_per_attn_res_block=1, unpadded_vocab_size=len(_tokenizer(name)), **_INKLING)
        seen = _LAYERS | {"projection_hidden_dim": 32, "text_hidden_size": 32, "posemb_grid_size": 4}
        return CONFIG_MAPPING[name](text_config=text, vision_config=seen, **_ids(name, "image_token_id"))
    text = _text(name, mlp_layer_types=["dense", "sparse"], n_shared_experts=1, **_INKLING)
    seen = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = _ids(name, "image_token_id", "audio_token_id", "image_bos_token_id", "audio_bos_token_id")
    return CONFIG_MAPPING[name](text_config=text, vision_config=seen, **ids)


def processor(name: str) -> Any:
    """Returns the processor of model `name`."""
    show_image_processors()
    image, *others = _TOKENS[name]
    parts: dict[str, Any] = {"tokenizer": _tokenizer(name), "chat_template": _template(image, others[0])}
    if name == "cosmos3_edge":
        reader = _reader("Cosmos3EdgeImageProcessorPil")(size={"shortest_edge": 32 * 32, "longest_edge": 32 * 32 * 16})
        return without_video(_processor("Cosmos3EdgeProcessor"))(reader, video_processor=None, **parts)
    if name == "inkling2":
        return _processor("Inkling2Processor")(_reader("Inkling2ImageProcessor")(), **parts)
    hearing: Any = transformers.InklingFeatureExtractor()
    return _processor("InklingProcessor")(hearing, _reader("InklingImageProcessor")(), **parts)


def _reader(name: str) -> Any:
    return get_image_processor_class_from_name(name)


def _processor(name: str) -> Any:
    return processor_class_from_name(name)


def _template(image: str, sound: str) -> str:
    """Returns a chat template that concatenates the parts of each turn."""
    return (
        "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}"
        "{% elif p.type == 'image' %}" + image + "{% else %}" + sound + "{% endif %}{% endfor %}<end>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )


@written_once
def write_checkpoint(folder: Path, name: str) -> Path:
    """Writes the random model `name` with its processor to `folder` and returns it."""
    model = random_model(_config(name))
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder
