"""Tiny random checkpoints of models that read images or recordings inside text prompts, with their processors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma3Config,
    GenerationConfig,
    Idefics2Config,
    Idefics3Config,
    LlavaConfig,
    LlavaOnevisionConfig,
    PaliGemmaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2AudioConfig,
    Qwen2VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from services.engine.multimodal.processor_class import without_video
from tests.made_once import written_once
from tests.tiny import language_models
from tests.tiny.language_models import END_ID
from tests.tiny.media_readers import PINPOINTS, READERS

CONTEXT = 512

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}"
    "{% if p.type == 'text' %}{{ p.text }}{% else %}MEDIUM{% endif %}"
    "{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_TOKENS: dict[str, list[str]] = {
    "llava": ["<image>"],
    "qwen2_vl": ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
    "idefics3": [
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>",
        *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    ],
    "gemma3": ["<boi>", "<eoi>", "<img>"],
    "qwen2_audio": ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"],
}  # fmt: skip
_TOKENS["idefics2"] = ["<image>", "<fake_token_around_image>", "<end_of_utterance>"]
_TOKENS["paligemma"] = ["<image>"]
_TOKENS["llava_onevision"] = ["<image>", "<video>"]
_TOKENS["smolvlm"] = _TOKENS["idefics3"]
_TOKENS["qwen2_5_vl"] = _TOKENS["qwen3_vl"] = _TOKENS["qwen2_vl"]
_NAMED = {
    "gemma3": {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<img>"},
    "paligemma": {"image_token": "<image>"},
    "llava_onevision": {"image_token": "<image>", "video_token": "<video>"},
}
"""Tokens by the names under which a processor looks them up in its tokenizer."""
_IN_TEMPLATE = {
    "llava": "<image>",
    "llava_onevision": "<image>",
    "paligemma": "<image>",
    "idefics2": "<image>",
    "idefics3": "<image>",
    "smolvlm": "<image>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "gemma3": "<boi>",
    "qwen2_audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
}


def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Returns the language models' tokenizer, with the media placeholders of model `name`."""
    found = extended(_TOKENS[name], _NAMED.get(name, {}))
    if name == "llava":  # LLaVA 1.5's tokenizer adds it; its template does not
        found.backend_tokenizer.post_processor = TemplateProcessing(
            single="<start> $A", special_tokens=[("<start>", 1)]
        )
    return found


def extended(tokens: list[str], named: dict[str, str]) -> PreTrainedTokenizerFast:
    """Returns the language models' tokenizer with more special tokens, some of which have a name."""
    whole = language_models.tokenizer()
    whole.add_special_tokens({"additional_special_tokens": tokens})  # type: ignore[arg-type]
    return PreTrainedTokenizerFast(
        tokenizer_object=whole.backend_tokenizer, pad_token="<pad>", bos_token="<start>", eos_token="<end>",
        extra_special_tokens=named,
    )  # fmt: skip


def template(name: str) -> str:
    """Returns the chat template of model `name`."""
    return TEMPLATE.replace("MEDIUM", _IN_TEMPLATE[name])


_LAYERS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _text(name: str, **changes: Any) -> dict[str, Any]:
    shape = {
        "vocab_size": len(tokenizer(name)),
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": END_ID,
        "tie_word_embeddings": False,
    }
    return _LAYERS | shape | changes


def _id(name: str, token: str) -> int:
    found = tokenizer(name).convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


_MROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}
_VISION_IDS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}


def _qwen_vl(name: str, kind: type[PretrainedConfig], **vision: Any) -> PretrainedConfig:
    return kind(
        text_config=_text(name, rope_parameters=_MROPE),
        vision_config={"depth": 2, "num_heads": 4, "patch_size": 14, "temporal_patch_size": 2} | vision,
        **{field: _id(name, token) for field, token in _VISION_IDS.items()},
        tie_word_embeddings=False,
    )


def _idefics(name: str, kind: type[PretrainedConfig]) -> PretrainedConfig:
    return kind(
        vision_config=_LAYERS | {"image_size": 32, "patch_size": 8},
        text_config=_text(name, model_type="llama"),
        scale_factor=2,
        image_token_id=_id(name, "<image>"),
        pad_token_id=0,
        tie_word_embeddings=False,
    )


CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "llava": lambda: LlavaConfig(
        vision_config=_LAYERS | {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8},
        text_config=_text("llava", model_type="llama"),
        image_token_index=_id("llava", "<image>"),
        tie_word_embeddings=False,
    ),
    "qwen2_vl": lambda: _qwen_vl("qwen2_vl", Qwen2VLConfig, embed_dim=32, hidden_size=32, mlp_ratio=2),
    "qwen2_5_vl": lambda: _qwen_vl(
        "qwen2_5_vl", Qwen2_5_VLConfig, hidden_size=32, out_hidden_size=32, intermediate_size=64, window_size=56,
        fullatt_block_indexes=[1],
    ),
    # DeepStack: adds image features in several decoder layers.
    "qwen3_vl": lambda: Qwen3VLConfig(
        text_config=_text("qwen3_vl", head_dim=8, rope_parameters=_MROPE | {"mrope_interleaved": True}),
        vision_config={
            "depth": 2, "num_heads": 4, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32,
            "patch_size": 14, "deepstack_visual_indexes": [0], "num_position_embeddings": 16,
        },
        **{field: _id("qwen3_vl", token) for field, token in _VISION_IDS.items()},
        tie_word_embeddings=False,
    ),
    # The tokens of an image attend to each other in both directions.
    "gemma3": lambda: Gemma3Config(
        vision_config=_LAYERS | {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8},
        text_config=_text("gemma3", head_dim=8, sliding_window=64), mm_tokens_per_image=4,
        boi_token_index=_id("gemma3", "<boi>"), eoi_token_index=_id("gemma3", "<eoi>"),
        image_token_index=_id("gemma3", "<img>"), tie_word_embeddings=False,
    ),
    "idefics3": lambda: _idefics("idefics3", Idefics3Config),
    "smolvlm": lambda: _idefics("smolvlm", SmolVLMConfig),
    "qwen2_audio": lambda: Qwen2AudioConfig(
        audio_config={
            "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
            "num_mel_bins": 16, "max_source_positions": 50, "model_type": "qwen2_audio_encoder",
        },
        text_config=_text("qwen2_audio", model_type="qwen2"),
        audio_token_index=_id("qwen2_audio", "<|AUDIO|>"),
    ),
}  # fmt: skip
"""By name: images of fixed size, of any size with 2D positions, or cut into tiles; recordings."""

OTHER_PROMPTS: dict[str, Callable[[], PretrainedConfig]] = {
    # Puts the BOS token behind the last image, and ends the prompt with a newline.
    "paligemma": lambda: PaliGemmaConfig(
        vision_config=_LAYERS
        | {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, "projection_dim": 32},
        text_config=_text("paligemma", model_type="gemma", head_dim=8, num_image_tokens=16),
        image_token_index=_id("paligemma", "<image>"), projection_dim=32, hidden_size=32, tie_word_embeddings=False,
    ),
    # Puts a space between an image and a word.
    "idefics2": lambda: Idefics2Config(
        vision_config=_LAYERS | {"image_size": 48, "patch_size": 8},
        perceiver_config={
            "hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 4,
            "resampler_head_dim": 8, "num_key_value_heads": 2,
        },
        text_config=_text("idefics2", model_type="mistral", head_dim=8, sliding_window=None),
        image_token_id=_id("idefics2", "<image>"), tie_word_embeddings=False,
    ),
    # Cuts an image into tiles only if it is the only one in the prompt.
    "llava_onevision": lambda: LlavaOnevisionConfig(
        vision_config=_LAYERS | {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8},
        text_config=_text("llava_onevision", model_type="qwen2"), image_grid_pinpoints=PINPOINTS,
        image_token_index=_id("llava_onevision", "<image>"), video_token_index=_id("llava_onevision", "<video>"),
        tie_word_embeddings=False,
    ),
}  # fmt: skip
"""Models whose processors do more than replace each image's placeholder on its own."""


def processor(name: str) -> Any:
    """Returns the processor of model `name`, without the video part, which needs torchvision."""
    kind = without_video(PROCESSOR_MAPPING[type((CONFIGS | OTHER_PROMPTS)[name]())])
    own = {
        "llava": {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        "idefics2": {"image_seq_len": 4},
        "llava_onevision": {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        "idefics3": {"image_seq_len": 4},
        "smolvlm": {"image_seq_len": 4, "video_processor": None},
        "gemma3": {"image_seq_length": 4},
    }
    return kind(READERS[name](), tokenizer(name), chat_template=template(name), **own.get(name, {}))


@written_once
def write_checkpoint(folder: Path, name: str, *, seed: int = 0, **generation: object) -> Path:
    """Writes the random model `name` with its processor to `folder` and returns it."""
    model = random_model((CONFIGS | OTHER_PROMPTS)[name](), seed)
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1, **generation)
    model.save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder


def model_class(config: PretrainedConfig) -> Any:
    """Returns the model class for a configuration, also if transformers lists it among sequence-to-sequence models."""
    kinds: tuple[Any, ...] = (MODEL_FOR_MULTIMODAL_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING)
    return next(kind[type(config)] for kind in kinds if type(config) in kind)


def random_model(config: PretrainedConfig, seed: int = 0) -> PreTrainedModel:
    """Returns a model with random weights in float32, wide enough that media change the next token."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)._from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def picture(seed: int, width: int = 60, height: int = 44) -> Image.Image:
    """Returns an RGB image of noise around one colour."""
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randint(192, (3,), generator=generator)
    noise = torch.randint(64, (height, width, 3), generator=generator)
    return Image.fromarray((colour + noise).to(torch.uint8).numpy())
