"""Writes the benchmarked models: random weights in the shapes of BERT-base and ViT-base."""

import json
from itertools import product
from pathlib import Path
from string import ascii_lowercase

from benchmarks.random_weights import made_once

WORDS = ["".join(letters) for letters in product(ascii_lowercase, repeat=3)]
"""Words that are one token each."""
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_VOCABULARY = 30_522


def text_model(cache: Path) -> Path:
    """Returns the folder of a BERT with 110 M parameters in bfloat16, written to `cache` on first use."""
    return made_once(cache, "bert-base", _make_bert)


def class_token_model(cache: Path) -> Path:
    """Returns a folder with the same weights, configured (as sentence-transformers does) for [CLS] pooling."""
    folder, own = cache / "models/bert-base-cls", text_model(cache)
    if not (folder / "modules.json").exists():
        (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
        for path in own.iterdir():
            if path.suffix in {".json", ".safetensors"} and not (folder / path.name).exists():
                (folder / path.name).hardlink_to(path)
        pooling = {"word_embedding_dimension": 768, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
        kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def image_model(cache: Path) -> Path:
    """Returns the folder of a ViT with 86 M parameters and 1,000 classes, written to `cache` on first use."""
    return made_once(cache, "vit-base", _make_vit)


def _make_bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig()).bfloat16().save_pretrained(folder)
    _save_tokenizer(folder)


def _make_vit(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig()
    config.num_labels = 1000
    ViTForImageClassification(config).bfloat16().save_pretrained(folder)
    ViTImageProcessorPil().save_pretrained(folder)


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [*_SPECIAL, *WORDS]
    pieces += [f"[unused{i}]" for i in range(_VOCABULARY - len(pieces))]
    made = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=_SPECIAL[1]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), _SPECIAL, strict=False)),
        model_max_length=512,
    ).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    # A name that transformers 4 knows too, which a peer needs.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=1))
