"""Tiny random checkpoints of image captioning and VQA models that generate text, as `save_pretrained` writes them."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import ImageFont
from tokenizers import AddedToken
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    DonutSwinConfig,
    GenerationConfig,
    GitConfig,
    GitForCausalLM,
    GPT2Config,
    MBartConfig,
    Pix2StructConfig,
    Pix2StructForConditionalGeneration,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrOCRConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from tests.made_once import made_once, written_once
from tests.tiny.encoders import bytelevel, wordpiece
from tests.tiny.vision_models import processor_class, stir

CONTEXT = 64
"""Longest prompt and output together, in tokens."""
_SIDE = 32
_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_SQUARE: dict[str, Any] = {"size": {"height": _SIDE, "width": _SIDE}}
_TOWER: dict[str, Any] = _LAYERS | {"image_size": _SIDE, "patch_size": 8}

Made = tuple[PreTrainedModel, PreTrainedTokenizerFast, Any]
"""A model, its tokenizer, and its image processor."""


@made_once
def donut_tokens() -> PreTrainedTokenizerFast:
    """Returns a tokenizer that has Donut's tokens for questions and answers."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytelevel().backend_tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        model_max_length=CONTEXT,
    )  # fmt: skip
    names = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]
    made.add_tokens([AddedToken(name, special=False) for name in names])
    return made


def _put_together(encoder: PretrainedConfig, decoder: PretrainedConfig, start: int) -> PreTrainedModel:
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = start, decoder.pad_token_id
    model = VisionEncoderDecoderModel(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start, eos_token_id=decoder.eos_token_id, pad_token_id=decoder.pad_token_id
    )
    return model


def _gpt2() -> Made:
    tokenizer = bytelevel()
    decoder = GPT2Config(
        vocab_size=len(tokenizer), n_embd=24, n_layer=2, n_head=4, n_positions=CONTEXT, bos_token_id=0, eos_token_id=2,
        pad_token_id=1, tie_word_embeddings=False,  # a random tied model repeats its last token
    )  # fmt: skip
    return _put_together(ViTConfig(**_TOWER), decoder, 0), tokenizer, processor_class("vit")(**_SQUARE)


def _trocr() -> Made:
    tokenizer = bytelevel()
    decoder = TrOCRConfig(
        vocab_size=len(tokenizer), d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=64,
        max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=2, pad_token_id=1, cross_attention_hidden_size=32,
    )  # fmt: skip
    return _put_together(ViTConfig(**_TOWER), decoder, 2), tokenizer, processor_class("vit")(**_SQUARE)


def _donut() -> Made:
    tokenizer = donut_tokens()
    encoder = DonutSwinConfig(
        image_size=[_SIDE, 2 * _SIDE], patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    decoder = MBartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, decoder_attention_heads=4,
        decoder_ffn_dim=64, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=2, pad_token_id=1,
        scale_embedding=True, forced_eos_token_id=None,
    )  # fmt: skip
    processor = processor_class("donut")(size={"height": _SIDE, "width": 2 * _SIDE})
    return _put_together(encoder, decoder, 0), tokenizer, processor


def _blip(kind: Callable[[BlipConfig], PreTrainedModel]) -> Made:
    tokenizer = wordpiece()
    text = _LAYERS | {
        "vocab_size": len(tokenizer), "encoder_hidden_size": 32, "max_position_embeddings": CONTEXT, "bos_token_id": 4,
        "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    model = kind(BlipConfig(text_config=text, vision_config=_TOWER))
    return model, tokenizer, processor_class("blip")(**_SQUARE)


def _git() -> Made:
    tokenizer = wordpiece()
    config = GitConfig(
        vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, vision_config=_TOWER, bos_token_id=2,
        eos_token_id=3, pad_token_id=0, **_LAYERS,
    )  # fmt: skip
    return GitForCausalLM(config), tokenizer, processor_class("clip")(**_SQUARE, do_center_crop=False)


def _pix2struct(*, is_vqa: bool) -> Made:
    tokenizer = bytelevel()
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
        "decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "patch_embed_hidden_size": 192, "d_ff": 64, "d_kv": 8, "num_hidden_layers": 2,
        "num_attention_heads": 4, "seq_len": 64,
    }  # fmt: skip
    model = Pix2StructForConditionalGeneration(Pix2StructConfig(text_config=text, vision_config=vision))
    model.generation_config = GenerationConfig(decoder_start_token_id=1, eos_token_id=2, pad_token_id=1)
    processor = processor_class("pix2struct")(patch_size={"height": 8, "width": 8}, max_patches=40, is_vqa=is_vqa)
    return model, tokenizer, processor


_MAKERS: dict[str, Callable[[], Made]] = {
    "vit-gpt2": _gpt2,
    "trocr": _trocr,
    "donut": _donut,
    "blip": lambda: _blip(BlipForConditionalGeneration),
    "blip-answers": lambda: _blip(BlipForQuestionAnswering),
    "git": _git,
    "pix2struct": lambda: _pix2struct(is_vqa=False),
    "pix2struct-answers": lambda: _pix2struct(is_vqa=True),
}


@written_once
def write_picture_model(folder: Path, name: str) -> Path:
    """Writes a random model of kind `name`, with the font that Pix2Struct needs to render questions above images."""
    torch.manual_seed(3)
    model, tokenizer, processor = _MAKERS[name]()
    stir(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    font: Any = ImageFont.load_default(size=10)
    assert isinstance(font.path, BytesIO)
    (folder / "Arial.TTF").write_bytes(font.path.getvalue())
    return folder
