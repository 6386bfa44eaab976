"""From texts and pairs of texts to the tokens a model reads, cut to what fits if the caller wants that."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    words: Sequence[int | None] | None = None
    """Which word of its text a token is part of, by the tokenizer's own idea of words; None likewise."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, places: Sequence[int]) -> "TextTokens":
        """Returns the tokens at these places."""

        def picked(values: Sequence[Any] | None) -> Any:
            return None if values is None else [values[place] for place in places]

        return TextTokens(*map(picked, (self.ids, self.sequences, self.type_ids, self.offsets, self.words)))


class TextReader:
    """Encodes without truncation and padding, which are state of a fast tokenizer that threads would share.

    Its methods may run in any thread.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        context_tokens: int,
        *,
        advice: str = "shorten it, or set `truncation`",
    ) -> None:
        """Makes one that reads up to `context_tokens`; `advice` is for callers whose texts have more."""
        self._tokenizer: Any = tokenizer  # its own types tell one result for each of many ways to call it
        self.context_tokens = context_tokens
        self._advice = advice
        self.is_fast = bool(self._tokenizer.is_fast)
        """Whether offsets and words are known."""
        longest = max(map(len, tokenizer.get_vocab()), default=1)
        self._most_characters = _SPARE * longest * context_tokens
        self._special = frozenset(tokenizer.all_special_ids)
        if self.is_fast:
            # What the files set for training is not wanted, and unset before threads share it.
            self._tokenizer.backend_tokenizer.no_truncation()
            self._tokenizer.backend_tokenizer.no_padding()

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = True) -> TextTokens:
        """Returns all tokens, however many."""
        encoded = self._tokenizer(
            text, pair, add_special_tokens=add_special_tokens, return_offsets_mapping=self.is_fast
        )
        ids, type_ids = encoded["input_ids"], encoded.get("token_type_ids")
        if not self.is_fast:
            return TextTokens(ids, self._sequences_by_runs(ids), type_ids)
        own = encoded.encodings[0]
        return TextTokens(ids, own.sequence_ids, type_ids, own.offsets, own.word_ids)

    def read(self, text: str, truncation: Truncation, *, field: str, pair: str | None = None) -> TextTokens:
        """Returns tokens that fit the model. Of a pair, the second text is cut and never the first.

        Raises:
            InvalidArgument: they do not fit, and nothing may be cut; or nothing would be left of what is cut.
        """
        last = text if pair is None else pair
        most = self._most_characters
        if len(last) > most:
            if truncation is Truncation.NONE:
                raise InvalidArgument([Violation(field, f"has {len(last)} characters, more than the model can read")])
            last = last[:most] if truncation is Truncation.END else last[-most:]
        whole = self.encode(last) if pair is None else self.encode(text, last)
        return self.cut(whole, truncation, field=field, sequence=0 if pair is None else 1)

    def cut(self, whole: TextTokens, truncation: Truncation, *, field: str, sequence: int = 0) -> TextTokens:
        """Returns the tokens without those of a text that do not fit, at its start or its end. Raises as `read`."""
        excess = len(whole) - self.context_tokens
        if excess <= 0:
            return whole
        if truncation is Truncation.NONE:
            raise InvalidArgument(
                [Violation(field, f"has {len(whole)} tokens, and the model reads at most {self.context_tokens}; "
                           f"{self._advice}")]
            )  # fmt: skip
        places = [place for place, of in enumerate(whole.sequences) if of == sequence]
        if len(places) <= excess:
            raise InvalidArgument([Violation(field, "leaves no room for what is read with it")])
        dropped = set(places[-excess:] if truncation is Truncation.END else places[:excess])
        return whole.select([place for place in range(len(whole)) if place not in dropped])

    def _sequences_by_runs(self, ids: Sequence[int]) -> list[int | None]:
        """Tells texts apart by the special tokens between them, where the tokenizer does not say."""
        found: list[int | None] = []
        run, inside = -1, False
        for token_id in ids:
            special = token_id in self._special
            run += not special and not inside
            inside = not special
            found.append(None if special else min(run, 1))
        return found
