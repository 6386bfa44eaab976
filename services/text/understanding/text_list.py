"""Tokenizes the texts of a request one by one and collects every violation."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sensorium.errors import InvalidArgument, Violation
from services.engine.encoders.pairs import Part
from services.engine.encoders.reader import TextReader
from services.engine.encoders.tokens import TextTokens
from services.engine.language.texts import Truncation

T = TypeVar("T")


@dataclass(frozen=True)
class TextList:
    """A repeated field of texts: at least one, at most `most`."""

    most: int
    name: str = "texts"

    def check(self, texts: Sequence[str], wrong: list[Violation]) -> Sequence[str]:
        """Checks the number of texts and that none is empty. Returns the texts, or none if there are too many."""
        if not 1 <= len(texts) <= self.most:
            wrong.append(Violation(self.name, f"must hold 1 to {self.most} items, not {len(texts)}"))
            return []  # tokenizing too many texts would be wasted work
        wrong += [Violation(f"{self.name}[{i}]", "must not be empty") for i, text in enumerate(texts) if not text]
        return texts

    def read(
        self, texts: Sequence[str], truncation: Truncation, wrong: list[Violation], reader: TextReader
    ) -> list[TextTokens]:
        """Returns the tokens of each valid text, and appends violations for the others to `wrong`."""
        return self._each(
            self.check(texts, wrong), wrong, lambda text, field: reader.read(text, truncation, field=field)
        )

    def wholes(self, texts: Sequence[str], wrong: list[Violation], reader: TextReader) -> list[TextTokens]:
        """Like `read`, but without truncation or a length limit, for a list that `check` was called for."""
        return self._each(texts, wrong, lambda text, field: reader.whole(text, field=field))

    def parts(
        self, texts: Sequence[str], truncation: Truncation, wrong: list[Violation], reader: TextReader
    ) -> list[Part]:
        """Like `read`, but returns each text as a part of pairs."""
        return self._each(
            self.check(texts, wrong), wrong, lambda text, field: reader.part(text, truncation, field=field)
        )

    def _each(self, texts: Sequence[str], wrong: list[Violation], read: Callable[[str, str], T]) -> list[T]:
        found: list[T] = []
        for i, text in enumerate(texts):
            if text:
                with collecting(wrong):
                    found.append(read(text, f"{self.name}[{i}]"))
        return found


@contextmanager
def collecting(wrong: list[Violation]) -> Generator[None]:
    """Catches InvalidArgument and appends its violations to `wrong`, without duplicates."""
    try:
        yield
    except InvalidArgument as error:
        wrong += [violation for violation in error.violations if violation not in wrong]


def require_at_least_one(wrong: list[Violation], **counts: int | None) -> None:
    """Appends a violation for each count that is given and below 1."""
    wrong += [
        Violation(name, f"must be at least 1, not {count}")
        for name, count in counts.items()
        if count is not None and count < 1
    ]
