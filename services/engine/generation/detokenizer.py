"""Token ids to text, one token at a time, in whole characters."""

from collections.abc import Sequence
from typing import Protocol

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LONGEST_PARTIAL = 3
"""Bytes of a UTF-8 character that may still be completed, each shown as one replacement character."""
_CONTEXT_TOKENS = 6
"""Prompt tokens decoded along, so that a first word keeps the space that separates it from the prompt."""


class Decoder(Protocol):
    """The part of a tokenizer that is needed here."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        """Returns the text of `token_ids`, with replacement characters for bytes that are no character."""
        ...


class IncrementalDetokenizer:
    """Turns a growing sequence of ids into text that never changes once returned.

    Decodes a short window instead of everything, and holds back replacement characters at the end, which later bytes
    may complete. tokenizers' DecodeStream does the same but raises on byte sequences that random weights produce.
    """

    def __init__(self, decoder: Decoder, prompt_token_ids: Sequence[int], *, skip_special_tokens: bool) -> None:
        self._decoder = decoder
        self._skip_special_tokens = skip_special_tokens
        self._window = list(prompt_token_ids[-_CONTEXT_TOKENS:])
        self._settled = len(self._window)  # tokens of the window whose text has all been returned
        self._returned = len(self._decode(self._window))  # characters of the window's text returned

    def push(self, token_id: int) -> str:
        """Returns the text that `token_id` makes certain; empty while a character is incomplete."""
        self._window.append(token_id)
        text = self._decode(self._window)
        stable = text.rstrip(_REPLACEMENT)
        certain = max(len(stable), len(text) - _LONGEST_PARTIAL)
        new = text[self._returned : certain]
        self._returned = max(self._returned, certain)
        if certain == len(text):
            self._slide()
        return new

    def flush(self) -> str:
        """Returns what was held back: replacement characters for bytes that nothing completed."""
        text = self._decode(self._window)[self._returned :]
        self._returned += len(text)
        return text

    def _slide(self) -> None:
        """Drops tokens older than the last settled ones, which stay to give the next token its context."""
        self._window = self._window[self._settled :] if self._settled < len(self._window) else self._window
        self._settled = len(self._window)
        self._returned = len(self._decode(self._window))

    def _decode(self, token_ids: list[int]) -> str:
        return self._decoder.decode(
            token_ids, skip_special_tokens=self._skip_special_tokens, clean_up_tokenization_spaces=False
        )
