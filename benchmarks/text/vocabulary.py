"""A vocabulary in which a text of known words is a known number of tokens, and every token is text by itself.

It has no bytes that are parts of characters only: a system holds those back until the character is whole, and when
their tokens were made could not be told by when they came.
"""

from itertools import product
from pathlib import Path
from string import ascii_lowercase

SIZE = 8192
_SPACE = "Ġ"  # how a byte-level vocabulary writes a blank
_BYTES = 128


def words() -> list[str]:
    """Returns the words of three letters that are one token each when written behind a blank."""
    room = SIZE - _BYTES - 26 - 26**2
    return ["".join(letters) for letters, _ in zip(product(ascii_lowercase, repeat=3), range(room), strict=False)]


def first_word_id() -> int:
    """Returns the id of the first of `words`; the others follow in order."""
    return _BYTES + 26 + 26**2


def text_of(token_ids: list[int]) -> str:
    """Returns the text that is tokenized to exactly these ids, each of which must be a word's."""
    known, first = words(), first_word_id()
    return "".join(f" {known[token_id - first]}" for token_id in token_ids)


def save_tokenizer(folder: Path) -> None:
    """Writes a tokenizer of `SIZE` entries, all of which decode, and no special ones."""
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
