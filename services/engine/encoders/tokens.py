"""From texts and pairs of texts to the tokens a model reads, cut to what fits if the caller wants that."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from sensorium.errors import InvalidArgument, Violation
from services.engine.texts import Truncation

_SPARE = 4
"""How many times as many characters as could fit are looked at: spaces and the like may come to no token."""


@dataclass(frozen=True)
class TextTokens:
    """The tokens of a text, or of a pair of texts, with the special ones around them."""

    ids: Sequence[int]
    sequences: Sequence[int | None]
    """To which text a token belongs, 0 or 1; None for special tokens."""
    type_ids: Sequence[int] | None = None
    """What the model calls token types, where it knows any."""
    offsets: Sequence[tuple[int, int]] | None = None
    """Code points of its text that a token covers; None where the tokenizer keeps no offsets."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, places: Sequence[int]) -> "TextTokens":
        """Returns the tokens at these places."""

        def picked(values: Sequence[Any] | None) -> Any:
            return None if values is None else [values[place] for place in places]

        return TextTokens(*map(picked, (self.ids, self.sequences, self.type_ids, self.offsets)))


@dataclass(frozen=True)
class Part:
    """One text of a pair, read once however many pairs it is in."""

    field: str
    """What a violation calls it."""
    text: str
    encoding: Any
    """Its tokens without special ones, as the library behind a fast tokenizer holds them; None for another."""


class TextReader:
    """Encodes without truncation and padding, which are state of a fast tokenizer that threads would share.

    Its methods may run in any thread.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_tokens: int) -> None:
        self._tokenizer: Any = tokenizer  # its own types tell one result for each of many ways to call it
        self.context_tokens = context_tokens
        self.is_fast = bool(self._tokenizer.is_fast)
        """Whether offsets are known."""
        longest = max(map(len, tokenizer.get_vocab()), default=1)
        self._most_characters = _SPARE * longest * context_tokens
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        if self.is_fast:
            # What the files set for training is not wanted, and unset before threads share it.
            self._tokenizer.backend_tokenizer.no_truncation()
            self._tokenizer.backend_tokenizer.no_padding()

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = True) -> TextTokens:
        """Returns all tokens, however many."""
        encoded = self._tokenizer(text, pair, add_special_tokens=add_special_tokens, verbose=False)
        if self.is_fast:
            return self._tokens(encoded.encodings[0])
        ids = encoded["input_ids"]
        return TextTokens(ids, self._found((text, pair), ids), encoded.get("token_type_ids"))

    def read(self, text: str, truncation: Truncation, *, field: str) -> TextTokens:
        """Returns at least one token and no more than fit the model.

        Raises:
            InvalidArgument: they do not fit, and nothing may be cut; or there are none.
        """
        whole = self.encode(self._readable(text, truncation, field))
        if not len(whole):
            raise InvalidArgument([Violation(field, "comes to no token")])
        return self._cut(whole, 0, truncation, field, field)

    def part(self, text: str, truncation: Truncation, *, field: str) -> Part:
        """Returns a text to be read in pairs; one of which `truncation` leaves too much is cut there.

        Raises:
            InvalidArgument: it does not even fit alone, and must not be cut.
        """
        text = self._readable(text, truncation, field)
        if not self.is_fast:
            return Part(field, text, None)
        encoding = self._tokenizer(text, add_special_tokens=False, verbose=False).encodings[0]
        if truncation is Truncation.NONE and len(encoding) > self.context_tokens:
            raise self._too_long(field, len(encoding))
        return Part(field, text, encoding)

    def pair(self, first: Part, second: Part) -> TextTokens:
        """Returns all tokens of a pair, however many."""
        if first.encoding is None or second.encoding is None:
            return self.encode(first.text, second.text)
        joined = self._tokenizer.backend_tokenizer.post_process(first.encoding, second.encoding, True)
        # The library forgets of which text the tokens are when it joins what it has seen before.
        own = [place for place, special in enumerate(joined.special_tokens_mask) if not special]
        sequences: list[int | None] = [None] * len(joined)
        for number, place in enumerate(own):
            sequences[place] = int(number >= len(first.encoding))
        return replace(self._tokens(joined), sequences=sequences)

    def read_pair(self, first: Part, second: Part, truncation: Truncation, *, cut: int) -> TextTokens:
        """Returns the tokens of a pair that fit the model. The first (0) or second (1) is `cut`, never the other.

        Raises:
            InvalidArgument: they do not fit, and nothing may be cut; or the other leaves no room.
        """
        cuttable, other = (first, second) if cut == 0 else (second, first)
        return self._cut(self.pair(first, second), cut, truncation, cuttable.field, other.field)

    def whole_part(self, text: str, *, field: str) -> Part:
        """Returns a text of any length, to be read in windows."""
        encoding = self._tokenizer(text, add_special_tokens=False, verbose=False).encodings[0] if self.is_fast else None
        return Part(field, text, encoding)

    def _readable(self, text: str, truncation: Truncation, field: str) -> str:
        """Returns as much of a text as could fit."""
        most = self._most_characters
        if len(text) <= most:
            return text
        if truncation is Truncation.NONE:
            raise InvalidArgument([Violation(field, f"has {len(text)} characters, more than the model can read")])
        return text[:most] if truncation is Truncation.END else text[-most:]

    def _cut(self, whole: TextTokens, sequence: int, truncation: Truncation, field: str, other: str) -> TextTokens:
        excess = len(whole) - self.context_tokens
        if excess <= 0:
            return whole
        places = [place for place, of in enumerate(whole.sequences) if of == sequence]
        if len(places) <= excess:
            raise InvalidArgument(
                [Violation(other, f"leaves no room: {len(whole) - len(places)} of {self.context_tokens} tokens are not "
                           "of the text it goes with")]
            )  # fmt: skip
        if truncation is Truncation.NONE:
            raise self._too_long(field, len(whole))
        dropped = set(places[-excess:] if truncation is Truncation.END else places[:excess])
        return whole.select([place for place in range(len(whole)) if place not in dropped])

    def _too_long(self, field: str, tokens: int) -> InvalidArgument:
        return InvalidArgument(
            [Violation(field, f"has {tokens} tokens, and the model reads at most {self.context_tokens}; shorten it, or "
                       "set `truncation`")]
        )  # fmt: skip

    def _tokens(self, own: Any) -> TextTokens:
        """Returns what an encoding of the library behind a fast tokenizer holds."""
        types = own.type_ids if self._has_types else None
        return TextTokens(own.ids, own.sequence_ids, types, own.offsets)

    def _found(self, texts: Sequence[str | None], ids: Sequence[int]) -> list[int | None]:
        """Tells to which text each token belongs where the tokenizer does not: finds the tokens of each by itself."""
        sequences: list[int | None] = [None] * len(ids)
        for number, text in enumerate(text for text in texts if text is not None):
            own = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            starts = range(len(ids) - len(own) + 1)
            for start in reversed(starts) if number else starts:
                if list(ids[start : start + len(own)]) == own:
                    sequences[start : start + len(own)] = [number] * len(own)
                    break
        return sequences
