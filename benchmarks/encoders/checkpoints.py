"""The models measured: random weights in the shapes of BERT-base and ViT-base, made once with a fixed seed."""

import json
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

SEED = 20_260_102
WORDS = ["".join(letters) for letters in product(ascii_lowercase, repeat=3)]
"""One token each."""
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_VOCABULARY = 30_522


def text_model(cache: Path) -> Path:
    """Returns the folder of a BERT of 110 M parameters in bfloat16, made if `cache` does not hold it."""
    folder = cache / "models/bert-base"
    if not (folder / "model.safetensors").exists():
        from transformers import BertConfig, BertModel

        _save(BertModel, BertConfig(), folder)
        _save_tokenizer(folder)
    return folder


def image_model(cache: Path) -> Path:
    """Returns the folder of a ViT of 86 M parameters that knows 1,000 classes, likewise."""
    folder = cache / "models/vit-base"
    if not (folder / "model.safetensors").exists():
        from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

        _save(ViTForImageClassification, ViTConfig(num_labels=1000), folder)
        ViTImageProcessorPil().save_pretrained(folder)
    return folder


def _save(kind: Any, config: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(SEED)
    kind(config).to(torch.bfloat16).save_pretrained(folder)


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
