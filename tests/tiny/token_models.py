"""Tiny random checkpoints of models that encode images as discrete tokens of their vocabulary, with processors."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.processing_auto import processor_class_from_name

from tests.made_once import written_once
from tests.tiny.language_models import END_ID
from tests.tiny.multimodal_models import extended, random_model

_CODES = 8
_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}"
    "{% else %}<image>{% endif %}{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_NAMED = {
    "chameleon": {
        "image_token": "<image>", "boi_token": "<racm3:break>", "eoi_token": "<eoss>", "sep_token": "<sep>",
    },
    "emu3": {
        "image_token": "<image>", "boi_token": "<|image start|>", "eoi_token": "<|image end|>",
        "image_wrapper_token": "<|image token|>", "eof_token": "<|extra_201|>",
    },
}  # fmt: skip
_CODED = {
    "chameleon": ["<image>", *(f"IMGIMG{chr(ord('A') + code)}Z" for code in range(_CODES))],
    "emu3": ["<image>", "<|extra_200|>", *(f"<|visual token {code:06d}|>" for code in range(_CODES))],
}
"""The tokens that encode images."""
_LAYERS: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": END_ID, "tie_word_embeddings": False,
}  # fmt: skip
_CODING: dict[str, Any] = {"base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1}
_SEEN: dict[str, tuple[str, dict[str, Any]]] = {
    "chameleon": (
        "ChameleonImageProcessorPil",
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    ),
    "emu3": ("Emu3ImageProcessor", {"min_pixels": 64 * 64, "max_pixels": 96 * 96}),
}


def processor(name: str) -> Any:
    """Returns the processor of model `name`."""
    kind, shape = _SEEN[name]
    image: Any = get_image_processor_class_from_name(kind)
    more = {"image_seq_length": 16} if name == "chameleon" else {}
    own: Any = processor_class_from_name({"chameleon": "ChameleonProcessor", "emu3": "Emu3Processor"}[name])
    made = own(image_processor=image(**shape), tokenizer=_tokenizer(name), **more)
    made.chat_template = _TEMPLATE
    return made


@written_once
def write_checkpoint(folder: Path, name: str) -> Path:
    """Writes the random model `name` with its processor to `folder` and returns it."""
    tokenizer = _tokenizer(name)
    layers = _LAYERS | {"vocab_size": len(tokenizer)}
    if name == "chameleon":
        codes = {"num_embeddings": _CODES, "embed_dim": 16, "latent_channels": 16, "resolution": 32}
    else:
        codes = {"codebook_size": _CODES, "hidden_size": 32}
    parts = {
        "vq_config": codes | _CODING,
        "vocabulary_map": {token: tokenizer.convert_tokens_to_ids(token) for token in _CODED[name]},
    }
    kind: Any = CONFIG_MAPPING[name]
    model = random_model(kind(**parts, **({"text_config": layers} if name == "emu3" else layers)))
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder


def _tokenizer(name: str) -> Any:
    return extended([*_NAMED[name].values(), *_CODED[name][1:]], _NAMED[name])
