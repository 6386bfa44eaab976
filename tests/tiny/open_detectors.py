"""Tiny random checkpoints of zero-shot (text-prompted) object detectors, as `save_pretrained` writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForZeroShotObjectDetection,
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    Owlv2Config,
    Owlv2ImageProcessorPil,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTImageProcessorPil,
    OwlViTProcessor,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    SwinConfig,
)

from tests.made_once import written_once

LABEL_TOKENS = 16
"""Longest label of OWL-ViT in tokens, special ones included."""


_LETTERS = "bcdefghijklmnopqrstuvwxyz0123456789"
_WORDS = ["a", "the", "lazy", "quick", "dog", "fox", "program", "model", "reads", "task", "is", "panoptic"]
_PIECES = [*_WORDS, *_LETTERS, "##a", *(f"##{letter}" for letter in _LETTERS)]


def _tokenizer(vocabulary: dict[str, int], start: str, end: str) -> PreTrainedTokenizerFast:
    """Returns a tokenizer with some whole words and single letters; training one would differ from run to run."""
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", bos_token=start, eos_token=end, cls_token=start,
        sep_token=end, model_max_length=LABEL_TOKENS, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def _clip_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a CLIP tokenizer: every text ends with the greatest id, and none begins with id 0."""
    pieces = ["[PAD]", "[UNK]", "[START]", *_PIECES, "[END]"]
    return _tokenizer({piece: i for i, piece in enumerate(pieces)}, "[START]", "[END]")


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a BERT tokenizer whose separators of phrases have the ids that Grounding DINO looks for."""
    divisions = {"[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
    pieces = {piece: 200 + i for i, piece in enumerate(_PIECES)}
    tokenizer = _tokenizer({"[PAD]": 0, "[UNK]": 1, **divisions, **pieces}, "[CLS]", "[SEP]")
    tokenizer.model_max_length = 64
    return tokenizer


def _owl(config: Any, tokens: int) -> PretrainedConfig:
    text = {
        "vocab_size": tokens, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": LABEL_TOKENS, "pad_token_id": 0, "bos_token_id": 2,
        "eos_token_id": tokens - 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    return config(text_config=text, vision_config=vision, projection_dim=32)


def _owlvit() -> tuple[PretrainedConfig, Any]:
    tokenizer = _clip_tokenizer()
    images = OwlViTImageProcessorPil(size={"height": 64, "width": 64})
    return _owl(OwlViTConfig, len(tokenizer)), OwlViTProcessor(images, tokenizer)


def _owlv2() -> tuple[PretrainedConfig, Any]:
    tokenizer = _clip_tokenizer()
    images = Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    return _owl(Owlv2Config, len(tokenizer)), Owlv2Processor(images, tokenizer)


def _grounding_dino(kind: Any = GroundingDinoConfig) -> tuple[PretrainedConfig, Any]:
    tokenizer = bert_tokenizer()
    config = kind(
        backbone_config=SwinConfig(
            image_size=64, window_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2],
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1030, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=64, pad_token_id=0,
        ),
        d_model=64, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=12, max_text_len=48, num_feature_levels=4,
    )  # fmt: skip
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    return config, GroundingDinoProcessor(images, tokenizer)


_MAKERS: dict[str, Callable[[], tuple[PretrainedConfig, Any]]] = {
    "owlvit": _owlvit, "owlv2": _owlv2, "grounding_dino": _grounding_dino,
    "mm_grounding_dino": lambda: _grounding_dino(MMGroundingDinoConfig),
}  # fmt: skip


@written_once
def write_open_detector(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Writes a random model of the architecture `name` with its processor."""
    config, processor = _MAKERS[name]()
    torch.manual_seed(seed)
    model = AutoModelForZeroShotObjectDetection.from_config(config)
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if "_head." in part:  # or OWL-ViT's boxes and scores would saturate
                parameter.mul_(0.2)
            parameter.add_(torch.randn_like(parameter) * (0.2 if name.endswith("dino") else 0.1))
            if "class_embed" in part:  # MM Grounding DINO's prior bias makes all scores nearly 0
                parameter.zero_()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
