"""Token ids to text, one token at a time, in whole characters."""

from collections.abc import Sequence
from copy import copy
from typing import Protocol

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LONGEST_PARTIAL = 3
"""Bytes of a UTF-8 character that may still be completed, each shown as one replacement character."""
_CONTEXT_TOKENS = 6
"""Prompt tokens decoded along, so that a first word keeps the space that separates it from the prompt."""
_LONGEST_WINDOW = 64
"""Tokens decoded at once, about: a model may go on with bytes that are no character as long as it likes."""


class Decoder(Protocol):
    """The part of a tokenizer that is needed here."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Returns the text of `ids`, with replacement characters for bytes that are no character."""
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
        self._settled = len(self._window)  # tokens of the window that are there as context only
        self._returned = self._decode(self._window)  # the part of the window's text that is not to be returned again

    def fork(self) -> "IncrementalDetokenizer":
        """Returns a detokenizer that has taken the same ids and goes on by itself."""
        twin = copy(self)
        twin._window = [*self._window]
        return twin

    def push(self, token_id: int) -> str:
        """Returns the text that `token_id` makes certain; empty while a character is incomplete."""
        self._window.append(token_id)
        text = self._decode(self._window)
        if not text.startswith(self._returned):
            # Byte-fallback vocabularies read a run of bytes as a whole: an incomplete character spoils those before it.
            text = self._drop_context()
        before = len(self._returned)
        certain = max(len(text.rstrip(_REPLACEMENT)), len(text) - _LONGEST_PARTIAL, before)
        self._returned = text[:certain]
        if certain == len(text) or len(self._window) > _LONGEST_WINDOW:
            self._slide(held=len(text) - certain)
        return text[before:certain]

    def read(self, token_ids: Sequence[int]) -> tuple[str, int]:
        """Returns the text that these ids make certain, as when pushed one by one, and how many of them it is of."""
        if len(token_ids) > 1 and (text := self._read_plain(token_ids)) is not None:
            return text, len(token_ids)
        text, count = "", 0
        for place, token_id in enumerate(token_ids, 1):
            if more := self.push(token_id):
                text, count = text + more, place
        return text, count

    def flush(self) -> str:
        """Returns what was held back: replacement characters for bytes that nothing completed."""
        text = self._decode(self._window)
        held = text[len(self._returned) :]
        self._returned = text
        return held

    def _read_plain(self, token_ids: Sequence[int]) -> str | None:
        """Returns the text of ids that end with a character's end and hold nothing that is no character.

        None where it is not so; nothing has changed then.
        """
        last = self._decode([token_ids[-1]])
        if not last or _REPLACEMENT in last:
            return None
        text = self._decode([*self._window, *token_ids])
        new = text[len(self._returned) :]
        if not new.endswith(last) or not text.startswith(self._returned) or _REPLACEMENT in new:
            return None
        self._window, self._settled, self._returned = [token_ids[-1]], 1, last
        return new

    def _drop_context(self) -> str:
        """Leaves the tokens behind the settled ones alone in the window and returns their text."""
        behind = len(self._returned) - len(self._decode(self._window[: self._settled]))
        self._window = self._window[self._settled :]
        self._settled = 0
        text = self._decode(self._window)
        self._returned = text[: max(behind, 0)]
        return text

    def _slide(self, *, held: int) -> None:
        """Drops the settled tokens if those behind them have text of their own to give the next token its context.

        A window that is too long drops them as soon as all that is held lies behind them, and until then what is behind
        and has no text at all.
        """
        too_long = len(self._window) > _LONGEST_WINDOW
        behind = self._window[self._settled :]
        text = self._decode(behind)
        if len(text) > held or (text and too_long and len(text) == held):
            self._window, self._settled = behind, len(behind)
            self._returned = text[: len(text) - held]
        elif too_long:
            self._window[self._settled :] = [token_id for token_id in behind if self._decode([token_id])]

    def _decode(self, token_ids: list[int]) -> str:
        return self._decoder.decode(token_ids, skip_special_tokens=self._skip_special_tokens)
