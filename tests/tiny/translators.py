"""Tiny random translation models, with the kinds of tokenizers that real ones have."""

import json
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import (
    GenerationConfig,
    M2M100Config,
    M2M100Tokenizer,
    MarianConfig,
    MarianTokenizer,
    NllbTokenizer,
    T5Config,
)
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

from tests.made_once import written_once
from tests.tiny.language_models import CONTEXT, random_model, tokenizer

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Streams of tokens arrive one by one, and nobody waits.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Le renard brun et rapide saute par-dessus le chien paresseux.",
]
_PIECES = 60


def _train(folder: Path) -> sentencepiece.SentencePieceProcessor:
    text = folder / "text.txt"
    text.write_text("\n".join(SENTENCES * 8))
    sentencepiece.SentencePieceTrainer.Train(
        input=str(text), model_prefix=str(folder / "pieces"), vocab_size=_PIECES, minloglevel=2
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))


def _vocabulary(folder: Path, *more: str) -> dict[str, int]:
    """Returns ids by piece, fairseq's special tokens first."""
    model = _train(folder)
    pieces = [model.IdToPiece(i) for i in range(model.GetPieceSize())]
    ordered = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *more, *pieces])
    return {piece: i for i, piece in enumerate(ordered)}


def _shape(size: int) -> dict[str, Any]:
    return {
        "vocab_size": size, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": CONTEXT,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
        "forced_eos_token_id": None, "tie_word_embeddings": False,
    }  # fmt: skip


def _write(folder: Path, config: Any, tokenizer: Any, **generation: Any) -> Path:
    model = random_model(config, seed=3)
    ids = {name: getattr(config, name) for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id")}
    model.generation_config = GenerationConfig(**ids, **generation)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@written_once
def write_m2m(folder: Path) -> Path:
    """Writes an M2M100: a hundred languages, selected by language tokens."""
    folder.mkdir(exist_ok=True)
    vocabulary = _vocabulary(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    made = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "pieces.model"), src_lang="en", tgt_lang="fr")
    size = len(vocabulary) + len(FAIRSEQ_LANGUAGE_CODES["m2m100"]) + made.num_madeup_words
    return _write(folder, M2M100Config(**_shape(size)), made)


@written_once
def write_nllb(folder: Path) -> Path:
    """Writes an NLLB, whose language codes include the script."""
    folder.mkdir(exist_ok=True)
    vocabulary = _vocabulary(folder)
    made = NllbTokenizer(
        vocab=vocabulary, merges=[], extra_special_tokens=["eng_Latn", "fra_Latn", "zho_Hans", "zho_Hant"]
    )
    return _write(folder, M2M100Config(**_shape(len(made))), made)


@written_once
def write_marian(folder: Path, *targets: str) -> Path:
    """Writes a Marian from English into German, or into several languages selected by prefixes."""
    folder.mkdir(exist_ok=True)
    vocabulary = _vocabulary(folder, *(f">>{target}<<" for target in targets))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    pieces = str(folder / "pieces.model")
    made = MarianTokenizer(
        source_spm=pieces, target_spm=pieces, vocab=str(folder / "vocab.json"), source_lang="en",
        target_lang="mul" if targets else "de", model_max_length=CONTEXT,
    )  # fmt: skip
    return _write(folder, MarianConfig(**_shape(len(vocabulary)) | {"decoder_start_token_id": 1}), made)


@written_once
def write_t5(folder: Path) -> Path:
    """Writes a T5 whose `task_specific_params` name tasks with their prefixes and parameters."""
    config = T5Config(
        vocab_size=len(tokenizer()), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, n_positions=CONTEXT,
        pad_token_id=0, eos_token_id=2, decoder_start_token_id=0,
    )  # fmt: skip
    config.task_specific_params = {
        "summarization": {"prefix": "summarize: ", "max_length": 30, "min_length": 8, "no_repeat_ngram_size": 3},
        "translation_en_to_de": {"prefix": "translate English to German: ", "max_length": 25},
        "translation_en_to_fr": {"prefix": "translate English to French: ", "max_length": 25},
    }
    return _write(folder, config, tokenizer())
