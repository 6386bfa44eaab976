"""The length limit of requests whose texts are read in windows: no more tokens than may wait in the queue."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.job import Item

_CHARACTERS = 8
"""Texts with more characters than this for each token that may wait are not even tokenized."""


@dataclass(frozen=True)
class LengthLimit:
    """A limit in tokens, for the field `name`."""

    tokens: int
    name: str

    def readable(self, texts: Sequence[str], wrong: list[Violation]) -> Sequence[str]:
        """Returns the texts; none, with a violation, if they are together too long to be tokenized."""
        count, most = sum(map(len, texts)), _CHARACTERS * self.tokens
        if count <= most:
            return texts
        wrong.append(Violation(self.name, f"come to {count} characters, and at most {most} are read at once"))
        return []

    def require(self, items: Sequence[Item]) -> int:
        """Returns how many tokens the model reads, overlaps of windows included.

        Raises:
            InvalidArgument: they are too many.
        """
        count = sum(item.length for item in items)
        if count > self.tokens:
            told = f"come to {count} tokens in windows, and no more than {self.tokens} may wait"
            raise InvalidArgument([Violation(self.name, told)])
        return count
