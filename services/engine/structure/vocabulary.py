"""Vocabulary: the bytes of each token of a tokenizer, checked against what the tokenizer decodes."""

import random
from collections.abc import Sequence
from typing import Any

from llguidance import LLTokenizer, TokenizerWrapper

_ANCHORS = ("a", "0", ".")
"""Texts to put before tokens that are decoded: at the start of a text, a token may lose its space."""
_CHECKS = 1_000
_LENGTH = 6


class VocabularyUnreadable(Exception):
    """The bytes of tokens cannot be determined. The message says why."""


class Vocabulary:
    """The tokens with ids in [0, size) and their bytes, compiled for the library.

    The library gets an artificial end token, `end_id`, because the real end tokens depend on the request.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Reads a tokenizer of transformers. Raises VocabularyUnreadable if that is not possible."""
        self.size = self.end_id = len(tokenizer)
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._special = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        self._anchor = next((ids for text in _ANCHORS if (ids := self._encode(text))), [])
        try:
            tokens = self._byte_tokens()
        except ValueError:
            tokens = self._decoded_tokens()
        self._check(tokens)
        self.compiled = LLTokenizer(TokenizerWrapper(_Tokens(tokens, self._encode)))

    def _byte_tokens(self) -> list[bytes]:
        """Returns the bytes of byte-level tokens, which may be parts of characters.

        Raises:
            ValueError: the tokenizer is not a fast one, or the library cannot read it.
        """
        if not self._tokenizer.is_fast:
            raise ValueError
        read = LLTokenizer(self._tokenizer.backend_tokenizer.to_str(), n_vocab=self.size, slices=[])
        return [b"" if token_id in self._special else read.decode_bytes([token_id]) for token_id in range(self.size)]

    def _decoded_tokens(self) -> list[bytes]:
        """Returns the bytes of tokens that are whole characters: the text that each adds after an anchor."""
        before = self._decode(self._anchor)
        texts = ["" if i in self._special else self._decode([*self._anchor, i]) for i in range(self.size)]
        return [text[len(before) :].encode() if text.startswith(before) else b"" for text in texts]

    def _check(self, tokens: list[bytes]) -> None:
        """Compares concatenated bytes of random tokens with what the tokenizer decodes them to.

        Raises:
            VocabularyUnreadable: one differs, or no token is text.
        """
        dice = random.Random(0)  # noqa: S311 - any sample will do
        whole = [token_id for token_id, text in enumerate(tokens) if text and is_text(text)]
        before = self._decode(self._anchor)
        for _ in range(_CHECKS if whole else 0):
            chosen = dice.choices(whole, k=_LENGTH)
            if self._decode([*self._anchor, *chosen]) != before + b"".join(tokens[i] for i in chosen).decode():
                raise VocabularyUnreadable("the model's tokenizer changes text when it joins tokens")
        if not whole:
            raise VocabularyUnreadable("the model's tokenizer has no tokens of text")

    def _encode(self, text: str | bytes) -> list[int]:
        plain = text if isinstance(text, str) else text.decode(errors="ignore")
        return self._tokenizer(plain, add_special_tokens=False)["input_ids"]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def is_text(value: bytes) -> bool:
    """Returns whether bytes are valid UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Tokens:
    """The vocabulary as the library's tokenizer interface. Tokens without bytes are never allowed."""

    bos_token_id: int | None = None
    special_token_ids: tuple[int, ...] = ()

    def __init__(self, tokens: list[bytes], encode: Any) -> None:
        self.tokens = (*tokens, b"<end>")
        self.eos_token_id = len(tokens)
        self.special_token_ids = (self.eos_token_id,)
        self._encode = encode

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode(text)
