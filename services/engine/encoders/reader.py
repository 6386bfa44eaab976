"""Tokenizes texts and pairs of texts for a model, truncated to its context if the caller asks for that."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensorium.errors import InvalidArgument, Violation
from services.engine.encoders.pairs import PairLayout, Part
from services.engine.encoders.tokens import TextTokens
from services.engine.language.texts import Truncation
from services.engine.threads.turns import tokenizing

_SPARE = 4
"""Factor on the characters that could fit: longer texts are not tokenized. Spaces and the like may make no token."""

_SHORTEN = "shorten it"


def embedded_tokens(model: PreTrainedModel) -> int | None:
    """Returns how many token ids a model that reads more than texts has embeddings for, if its configuration tells."""
    return getattr(model.config.get_text_config(), "vocab_size", None)


class TextReader:
    """Tokenizes texts without the tokenizer's own truncation and padding, which are state that threads would share.

    Its methods may run in any thread.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        context_tokens: int,
        *,
        advice: str = f"{_SHORTEN}, or set `truncation`",
        vocabulary_size: int | None = None,
    ) -> None:
        """`advice` ends the message for texts of more than `context_tokens` tokens.

        The model has embeddings for token ids below `vocabulary_size`; None: for all of the tokenizer's ids.
        """
        self._tokenizer: Any = tokenizer  # Any: its type annotations do not fit all ways to call it
        self.context_tokens = context_tokens
        self._advice = advice
        self._vocabulary_size = vocabulary_size
        self.is_fast = bool(self._tokenizer.is_fast)
        """Whether tokens have offsets."""
        self._layout: PairLayout | None = None
        longest = max(map(len, tokenizer.get_vocab()), default=1)
        self._most_characters = _SPARE * longest * context_tokens
        if self.is_fast:
            # Settings from tokenizer.json, removed before threads share the tokenizer.
            self._tokenizer.backend_tokenizer.no_truncation()
            self._tokenizer.backend_tokenizer.no_padding()

    def encode(self, text: str, pair: str | None = None, *, add_special_tokens: bool = True) -> TextTokens:
        """Returns all tokens, without any limit."""
        with tokenizing(len(text) + len(pair or "")):
            encoded = self._tokenizer(text, pair, add_special_tokens=add_special_tokens, verbose=False)
        ids, types = encoded["input_ids"], encoded.get("token_type_ids")
        if not self.is_fast:
            return TextTokens(ids, self._found((text, pair), ids), types)
        own = encoded.encodings[0]
        return TextTokens(ids, own.sequence_ids, types, own.offsets)

    def whole(self, text: str, *, field: str) -> TextTokens:
        """Returns all tokens of a text of any length, to be read in windows.

        Raises:
            InvalidArgument: The model has no embedding for one of them.
        """
        tokens = self.encode(text)
        self._must_know(tokens, field)
        return tokens

    def read(self, text: str, truncation: Truncation, *, field: str) -> TextTokens:
        """Returns the tokens of a text: at least one, and no more than fit the model.

        Raises:
            InvalidArgument: They do not fit and `truncation` is NONE; or there are none; or the model has no embedding
                for one of them.
        """
        whole = self.whole(self._readable(text, truncation, field), field=field)
        if not len(whole):
            raise InvalidArgument([Violation(field, "comes to no token")])
        return self._cut(whole, 0, truncation, field, field)

    def part(self, text: str, truncation: Truncation | None, *, field: str) -> Part:
        """Returns a text to be read in pairs, truncated to the model's context.

        A `truncation` of None is for texts that are never cut: the error does not suggest truncation.

        Raises:
            InvalidArgument: The text does not fit even alone, and must not be cut.
        """
        part = self.whole_part(self._readable(text, truncation, field), field=field)
        count, most = len(part.tokens), self.context_tokens
        if count <= most:
            return part
        if truncation is None or truncation is Truncation.NONE:
            raise self._too_long(field, count, _SHORTEN if truncation is None else self._advice)
        return Part(
            field, part.tokens.select(range(most) if truncation is Truncation.END else range(count - most, count))
        )

    def whole_part(self, text: str, *, field: str) -> Part:
        """Returns a text of any length, to be read in pairs or in windows of pairs.

        Raises:
            InvalidArgument: The model has no embedding for one of its tokens.
        """
        tokens = self.encode(text, add_special_tokens=False)
        self._must_know(tokens, field)
        return Part(field, tokens)

    def pair(self, first: Part, second: Part) -> TextTokens:
        """Returns all tokens of a pair, as `encode` would."""
        # No `cached_property`: in Python 3.11 it holds a lock meanwhile, and a thread that gave way within `encode` to
        # one that waits for the lock would wait for ever. Two threads may find the same layout, which harms nobody.
        if self._layout is None:
            self._layout = PairLayout.of(self.encode("a", "a"))
        return self._layout.pair(first.tokens, second.tokens)

    def read_pair(self, first: Part, second: Part, truncation: Truncation, *, cut: int) -> TextTokens:
        """Returns the tokens of a pair, truncated to the model's context. Only text `cut` (0 or 1) may be truncated.

        Raises:
            InvalidArgument: The pair does not fit and `truncation` is NONE, or the other text leaves no room.
        """
        cuttable, other = (first, second) if cut == 0 else (second, first)
        return self._cut(self.pair(first, second), cut, truncation, cuttable.field, other.field)

    def _readable(self, text: str, truncation: Truncation | None, field: str) -> str:
        """Returns the part of a text that could fit, judged by its characters, without tokenizing it."""
        most = self._most_characters
        if len(text) <= most:
            return text
        if truncation is None or truncation is Truncation.NONE:
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
            raise self._too_long(field, len(whole), self._advice)
        dropped = set(places[-excess:] if truncation is Truncation.END else places[:excess])
        return whole.select([place for place in range(len(whole)) if place not in dropped])

    def _must_know(self, tokens: TextTokens, field: str) -> None:
        """Raises InvalidArgument for an id without an embedding: on a GPU, the look-up would kill the process."""
        largest = max(tokens.ids, default=0)
        if self._vocabulary_size is not None and largest >= self._vocabulary_size:
            name = self._tokenizer.convert_ids_to_tokens(largest)
            raise InvalidArgument([Violation(field, f"has the token {name!r}, which the model has no embedding for")])

    def _too_long(self, field: str, tokens: int, advice: str) -> InvalidArgument:
        said = f"has {tokens} tokens, and the model reads at most {self.context_tokens}; {advice}"
        return InvalidArgument([Violation(field, said)])

    def _found(self, texts: Sequence[str | None], ids: Sequence[int]) -> list[int | None]:
        """Returns the text of each token for slow tokenizers, by searching for the tokens of each text alone."""
        sequences: list[int | None] = [None] * len(ids)
        for number, text in enumerate(text for text in texts if text is not None):
            own = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            starts = range(len(ids) - len(own) + 1)
            for start in reversed(starts) if number else starts:
                if list(ids[start : start + len(own)]) == own:
                    sequences[start : start + len(own)] = [number] * len(own)
                    break
        return sequences
