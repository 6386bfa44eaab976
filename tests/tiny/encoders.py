"""Tiny random checkpoints of text encoders (one forward per request), as `save_pretrained` writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AddedToken,
    AlbertConfig,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    LongformerConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

from tests.made_once import made_once, written_once

CONTEXT = 64
"""Longest input in tokens, special ones included."""
TEXTS = [
    "Ada Lovelace wrote the first program in London.",
    "the quick brown fox jumps over the lazy dog",
    "Tänze im Grünen, 東京 and more: 0123456789!",
    "A model reads a text and answers at once; a service batches what waits.",
] * 4


@made_once
def wordpiece() -> PreTrainedTokenizerFast:
    """BERT's kind: `[CLS] a [SEP] b [SEP]` with token types, lower case."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=CONTEXT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


@made_once
def bytelevel() -> PreTrainedTokenizerFast:
    """RoBERTa's kind: `<s> a </s></s> b </s>` without token types, any text."""
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token=special[-1], model_max_length=CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
}
_MAKERS: dict[str, tuple[Callable[[], PreTrainedTokenizerFast], Callable[..., PretrainedConfig]]] = {
    "bert": (wordpiece, lambda **more: BertConfig(pad_token_id=0, **_SHAPE, **more)),
    "electra": (wordpiece, lambda **more: ElectraConfig(pad_token_id=0, embedding_size=16, **_SHAPE, **more)),
    "albert": (wordpiece, lambda **more: AlbertConfig(pad_token_id=0, embedding_size=16, **_SHAPE, **more)),
    "distilbert": (
        wordpiece,
        lambda **more: DistilBertConfig(
            pad_token_id=0, dim=32, hidden_dim=64, n_layers=2, n_heads=4, max_position_embeddings=CONTEXT, **more
        ),
    ),
    "deberta": (
        wordpiece,
        lambda **more: DebertaV2Config(
            pad_token_id=0, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, **_SHAPE, **more
        ),
    ),
    "roberta": (
        bytelevel,
        lambda **more: RobertaConfig(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
            **(_SHAPE | {"max_position_embeddings": CONTEXT + 2}), **more,
        ),
    ),
    "longformer": (
        bytelevel,
        lambda **more: LongformerConfig(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, sep_token_id=2, attention_window=8,
            **(_SHAPE | {"max_position_embeddings": CONTEXT + 2}), **more,
        ),
    ),
    "xlm-roberta": (
        bytelevel,
        lambda **more: XLMRobertaConfig(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
            **(_SHAPE | {"max_position_embeddings": CONTEXT + 2}), **more,
        ),
    ),
    "mpnet": (
        bytelevel,
        lambda **more: MPNetConfig(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, **(_SHAPE | {"max_position_embeddings": CONTEXT + 2}),
            **more,
        ),
    ),
    "modernbert": (
        bytelevel,
        lambda **more: ModernBertConfig(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2, local_attention=16,
            global_attn_every_n_layers=2, **_SHAPE, **more,
        ),
    ),
    "bart": (
        bytelevel,
        lambda **more: BartConfig(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, d_model=32, encoder_layers=2,
            decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
            decoder_ffn_dim=64, max_position_embeddings=CONTEXT, **more,
        ),
    ),
    "t5": (
        bytelevel,
        lambda **more: T5Config(
            pad_token_id=1, decoder_start_token_id=1, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, **more
        ),
    ),
    "qwen3": (
        bytelevel,
        lambda **more: Qwen3Config(
            pad_token_id=1, bos_token_id=0, eos_token_id=2, num_key_value_heads=2, head_dim=8, **_SHAPE, **more
        ),
    ),
}  # fmt: skip


@written_once
def write_encoder(folder: Path, name: str, auto_class: Any, *, seed: int = 0, **config: Any) -> Path:
    """Writes a random model of the architecture `name` with the head of `auto_class`, and its tokenizer."""
    make_tokenizer, make_config = _MAKERS[name]
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    model = auto_class.from_config(make_config(vocab_size=len(tokenizer), **config))
    with torch.no_grad():
        for parameter in model.parameters():  # with default weights, all outputs are nearly equal
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
