"""Limits the length of texts that are read in windows: a request may not exceed the queue's limit in tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.job import Item

_CHARACTERS = 8
"""Texts with more characters than this per token of the limit are refused before they are tokenized."""


@dataclass(frozen=True)
class LengthLimit:
    """A limit in tokens for the field `name`."""

    tokens: int
    name: str

    def readable(self, texts: Sequence[str], wrong: list[Violation]) -> Sequence[str]:
        """Returns the texts. If together they are too long to tokenize, returns none and appends a violation."""
        count, most = sum(map(len, texts)), _CHARACTERS * self.tokens
        if count <= most:
            return texts
        wrong.append(Violation(self.name, f"come to {count} characters, and at most {most} are read at once"))
        return []

    def require(self, items: Sequence[Item]) -> int:
        """Returns how many tokens the model reads, counting overlaps of windows twice.

        Raises:
            InvalidArgument: they exceed the limit.
        """
        count = sum(item.length for item in items)
        if count > self.tokens:
            told = f"come to {count} tokens in windows, and no more than {self.tokens} may wait"
            raise InvalidArgument([Violation(self.name, told)])
        return count
