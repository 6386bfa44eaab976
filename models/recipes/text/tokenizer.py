"""Two kinds of tokenizers: word pieces as BERT has them, and byte pairs as RoBERTa and ModernBERT have them."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
ALPHABET = [*string.ascii_letters, *string.digits, *string.punctuation]


def word_pieces(
    texts: Iterable[str], size: int, context: int, lowercase: bool = True, tells_parts: bool = True
) -> PreTrainedTokenizerFast:
    """Learns word pieces. Accents are dropped; a word with a letter beyond them becomes `[UNK]`.

    With `tells_parts` it yields token types, by which BERT tells the second text from the first.
    """
    special = dict(zip(ROLES, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), strict=True))
    unknown, start, end = (special[role] for role in ROLES[1:4])
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=list(special.values()),
            initial_alphabet=ALPHABET,
            min_frequency=2,
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.BertProcessing(
        (end, tokenizer.token_to_id(end)), (start, tokenizer.token_to_id(start))
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special, model_max_length=context, clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", *(["token_type_ids"] if tells_parts else []), "attention_mask"],
    )  # fmt: skip


def byte_pairs(texts: Iterable[str], size: int, context: int) -> PreTrainedTokenizerFast:
    """Learns pairs of bytes, lower case: any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = dict(zip(ROLES, ("<pad>", "<unk>", "<s>", "</s>", "<mask>"), strict=True))
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(special.values()), min_frequency=2, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )  # fmt: skip
    start, end = special["cls_token"], special["sep_token"]
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, tokenizer.token_to_id(end)), (start, tokenizer.token_to_id(start)), trim_offsets=True
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special, bos_token=start, eos_token=end, model_max_length=context,
        clean_up_tokenization_spaces=False, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
