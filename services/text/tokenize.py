"""The verbs Tokenize and Detokenize."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from sensorium.errors import InvalidArgument, Violation
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import EncodedText
from services.engine.threads.preprocessing import Preprocessing
from services.engine.threads.turns import give_way

MOST_TOKENS = 1 << 20
"""The most tokens of one Tokenize or Detokenize request."""
_CHARACTERS = 2
"""Texts with more characters than this per token of the limit are refused before they are tokenized."""
_MOST_TOLD = 1_000
"""The most violations collected for one request; an error status can hold only a few dozen."""

T = TypeVar("T")


class TextTokenizer:
    """Tokenizes and detokenizes the items of a request. If one item is invalid, the whole request fails."""

    def __init__(
        self, encoder: PromptEncoder, vocabulary_size: int, batch_items: int, preprocessing: Preprocessing
    ) -> None:
        self._encoder = encoder
        self._vocabulary_size = vocabulary_size
        self._batch_items = batch_items
        self._preprocessing = preprocessing

    async def tokenize(
        self, texts: list[str], convert: Callable[[EncodedText], T], *, add_special_tokens: bool
    ) -> list[T]:
        """Tokenizes each text, and returns the results of `convert`, which runs in the same preprocessing thread.

        Raises:
            InvalidArgument: there are no texts or too many, or they have too many characters or tokens.
        """
        self._require_batch("texts", len(texts))
        if (count := sum(map(len, texts))) > (most := _CHARACTERS * MOST_TOKENS):
            raise InvalidArgument([Violation("texts", f"come to {count} characters, and at most {most} are read")])
        return await self._preprocessing.run(self._tokenize, texts, convert, add_special_tokens)

    async def detokenize(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Returns the text of each sequence of token ids.

        Raises:
            InvalidArgument: there are no sequences or too many, too many ids, or ids outside the vocabulary.
        """
        self._require_batch("sequences", len(sequences))
        if (count := sum(map(len, sequences))) > MOST_TOKENS:
            raise InvalidArgument([Violation("sequences", f"must hold at most {MOST_TOKENS} ids, not {count}")])
        return await self._preprocessing.run(self._detokenize, sequences, skip_special_tokens)

    def _tokenize(self, texts: list[str], convert: Callable[[EncodedText], T], add_special_tokens: bool) -> list[T]:
        results: list[T] = []
        left = MOST_TOKENS
        for text in texts:
            tokens = self._encoder.encode_tokens(text, left, add_special_tokens=add_special_tokens)
            if tokens is None:
                raise InvalidArgument([Violation("texts", f"come to more than {MOST_TOKENS} tokens")])
            left -= len(tokens)
            results.append(convert(tokens))
        return results

    def _detokenize(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool) -> list[str]:
        if wrong := list(islice(self._unknown_ids(sequences), _MOST_TOLD)):
            raise InvalidArgument(wrong)
        results: list[str] = []
        for ids in sequences:
            give_way()
            results.append(self._encoder.decode(ids, skip_special_tokens=skip_special_tokens))
        return results

    def _unknown_ids(self, sequences: Sequence[Sequence[int]]) -> Iterator[Violation]:
        for i, ids in enumerate(sequences):
            for j, token_id in enumerate(ids):
                if not 0 <= token_id < self._vocabulary_size:
                    yield Violation(
                        f"sequences[{i}].ids[{j}]", f"must be in [0, {self._vocabulary_size}), not {token_id}"
                    )

    def _require_batch(self, field: str, count: int) -> None:
        if not 1 <= count <= self._batch_items:
            raise InvalidArgument([Violation(field, f"must hold 1 to {self._batch_items} items, not {count}")])
