"""The texts of a request, read one by one with everything that is wrong about them."""

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
    """A repeated field with texts, of which there must be some and may be `most`."""

    most: int
    name: str = "texts"

    def check(self, texts: Sequence[str], wrong: list[Violation]) -> Sequence[str]:
        """Adds what is wrong with the list and with empty texts. Returns the texts; none if there are too many."""
        if not 1 <= len(texts) <= self.most:
            wrong.append(Violation(self.name, f"must hold 1 to {self.most} items, not {len(texts)}"))
            return []  # so many are not looked at
        wrong += [Violation(f"{self.name}[{i}]", "must not be empty") for i, text in enumerate(texts) if not text]
        return texts

    def read(
        self, texts: Sequence[str], truncation: Truncation, wrong: list[Violation], reader: TextReader
    ) -> list[TextTokens]:
        """Returns the tokens of each text. Adds what is wrong to `wrong`, and leaves that text out."""
        return self._each(
            self.check(texts, wrong), wrong, lambda text, field: reader.read(text, truncation, field=field)
        )

    def wholes(self, texts: Sequence[str], wrong: list[Violation], reader: TextReader) -> list[TextTokens]:
        """Returns all tokens of each text of a list that is checked. Adds what is wrong, and leaves that text out."""
        return self._each(texts, wrong, lambda text, field: reader.whole(text, field=field))

    def parts(
        self, texts: Sequence[str], truncation: Truncation, wrong: list[Violation], reader: TextReader
    ) -> list[Part]:
        """Returns each text to be read in pairs. Adds what is wrong to `wrong`, and leaves that text out."""
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
    """Adds the violations of an InvalidArgument raised within to `wrong`, those that are not there already."""
    try:
        yield
    except InvalidArgument as error:
        wrong += [violation for violation in error.violations if violation not in wrong]


def require_at_least_one(wrong: list[Violation], **counts: int | None) -> None:
    """Adds a violation for each count given that is below 1, by its name."""
    wrong += [
        Violation(name, f"must be at least 1, not {count}")
        for name, count in counts.items()
        if count is not None and count < 1
    ]
