"""A vocabulary in which a text of known words has a known number of tokens, and every token is complete text.

No token is an incomplete UTF-8 sequence: servers hold such tokens back until the character is complete, so their
arrival would not show when they were generated.
"""

from itertools import product
from pathlib import Path
from string import ascii_lowercase

SIZE = 8192
_SPACE = "Ġ"  # a space in byte-level vocabularies
_BYTES = 128


def words() -> list[str]:
    """Returns the three-letter words that are one token each after a space."""
    room = SIZE - _BYTES - 26 - 26**2
    return ["".join(letters) for letters, _ in zip(product(ascii_lowercase, repeat=3), range(room), strict=False)]


def first_word_id() -> int:
    """Returns the id of the first of `words`; the others follow in order."""
    return _BYTES + 26 + 26**2


def text_of(token_ids: list[int]) -> str:
    """Returns the text that tokenizes to exactly these ids, all of which must be ids of words."""
    known, first = words(), first_word_id()
    return "".join(f" {known[token_id - first]}" for token_id in token_ids)


def save_tokenizer(folder: Path) -> None:
    """Writes a tokenizer of `SIZE` entries, all of them text, without special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    as_written = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = [as_written.pre_tokenize_str(chr(byte))[0][0] for byte in range(_BYTES)]
    merges = [(_SPACE, letter) for letter in ascii_lowercase]
    merges += [(_SPACE + first, second) for first, second in product(ascii_lowercase, repeat=2)]
    merges += [(_SPACE + word[:2], word[2]) for word in words()]
    pieces += ["".join(merge) for merge in merges]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    assert len(vocabulary) == SIZE
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
