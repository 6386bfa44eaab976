"""Reads texts with masks: finds each mask in the text and among the tokens, and fills it with a token."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from sensorium.errors import InvalidArgument, Violation
from services.engine.encoders.reader import TextReader
from services.engine.encoders.tokens import TextTokens
from services.engine.language.texts import Truncation


@dataclass(frozen=True)
class MaskedText:
    """A text and its masks, in text order."""

    text: str
    """The text as it was sent."""
    tokens: TextTokens
    places: Sequence[int]
    """The index of each mask among `tokens`."""
    spans: Sequence[tuple[int, int]]
    """The start and end of each mask in `text`, in code points."""


class MaskReader:
    """Reads texts with masks for a tokenizer that has a mask token."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, reader: TextReader) -> None:
        fast: Any = tokenizer
        self._tokenizer: Any = tokenizer
        self._reader = reader
        self._mask_id = self._tokenizer.mask_token_id
        self.mask: str = self._tokenizer.mask_token
        model = fast.backend_tokenizer.model if tokenizer.is_fast else None
        self._continuing: str = getattr(model, "continuing_subword_prefix", None) or ""
        added = self._tokenizer.added_tokens_decoder.get(self._mask_id)
        self._takes_space = added is not None and added.lstrip
        """Whether the mask token absorbs the whitespace in front of it."""
        self._anchor: list[int] = self._tokenizer("a", add_special_tokens=False)["input_ids"]

    def read(self, text: str, mask: str, truncation: Truncation, *, field: str) -> MaskedText:
        """Returns the tokens and masks of a text; `mask` is the non-empty string that marks a mask in it.

        Raises:
            InvalidArgument: the text has no mask, is too long, or would lose a mask by truncation.
        """
        marks = [match.span() for match in re.finditer(re.escape(mask), text)]
        if not marks:
            raise InvalidArgument([Violation(field, f"has no masked place; {mask!r} marks one")])
        read = text if mask == self.mask else text.replace(mask, self.mask)
        tokens = self._reader.read(read, truncation, field=field)
        # The text may hold the model's own mask token too. Only masks at the positions of marks are the request's.
        shifts = [i * (len(self.mask) - len(mask)) for i in range(len(marks))]
        starts = [start + shift for (start, _), shift in zip(marks, shifts, strict=True)]
        all_masks = [match.start() for match in re.finditer(re.escape(self.mask), read)]
        found = [place for place, token_id in enumerate(tokens.ids) if token_id == self._mask_id]
        if len(found) != len(all_masks):
            raise InvalidArgument(
                [Violation(field, "would lose a masked place when it is truncated; shorten the text")]
            )
        own = dict(zip(all_masks, found, strict=True))
        places = [own[start] for start in starts if start in own]
        if len(places) != len(starts):
            raise InvalidArgument(
                [
                    Violation(
                        field, f"has {mask!r} next to the model's own mask token, so that they cannot be told apart"
                    )
                ]
            )
        return MaskedText(text, tokens, places, marks)

    def alone(self, token_id: int) -> str:
        """Returns the text that a token decodes to by itself."""
        return self._tokenizer.decode([token_id])

    def filled(self, masked: MaskedText, place: int, token_id: int) -> str:
        """Returns the sent text with one mask replaced by a token, which may start a word or continue one."""
        start, end = masked.spans[place]
        before, behind = masked.text[:start], masked.text[end:]
        if self._continuing:
            # WordPiece tokens hold no spaces: keep those of the text, except before a token that continues a word.
            piece: str = self._tokenizer.convert_ids_to_tokens(token_id) or ""
            if piece.startswith(self._continuing):
                return before.rstrip() + piece.removeprefix(self._continuing) + behind
            return before + self.alone(token_id) + behind
        anchor: str = self._tokenizer.decode(self._anchor)
        word: str = self._tokenizer.decode([*self._anchor, token_id]).removeprefix(anchor)
        if not word.startswith(" "):
            return (before.rstrip() if self._takes_space else before) + word + behind
        return before + (word if before and not before[-1].isspace() else word[1:]) + behind
