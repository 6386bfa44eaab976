"""The texts of a request, read one by one with everything that is wrong about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation
from services.engine.encoders.tokens import TextReader, TextTokens
from services.engine.texts import Truncation


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
        self,
        texts: Sequence[str],
        truncation: Truncation,
        wrong: list[Violation],
        reader: TextReader,
        *,
        before: str | None = None,
    ) -> list[TextTokens]:
        """Returns the tokens of each text, or of the pair with `before`. Adds what is wrong to `wrong`."""
        found: list[TextTokens] = []
        for i, text in enumerate(self.check(texts, wrong)):
            try:
                if text and before is None:
                    found.append(reader.read(text, truncation, field=f"{self.name}[{i}]"))
                elif text:
                    found.append(reader.read(before, truncation, field=f"{self.name}[{i}]", pair=text))  # type: ignore[arg-type]
            except InvalidArgument as error:
                wrong += error.violations
        return found
