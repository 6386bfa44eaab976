"""Builds the tokens of text pairs from separately tokenized texts, each of which may be in many pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.engine.encoders.tokens import TextTokens


@dataclass(frozen=True)
class Part:
    """One text of a pair, tokenized once for all its pairs."""

    field: str
    """The request field that violations name."""
    tokens: TextTokens
    """The text's tokens, without special ones."""


@dataclass(frozen=True)
class PairLayout:
    """The special tokens around and between the texts of a pair, and all token types."""

    before: TextTokens
    between: TextTokens
    behind: TextTokens
    types: tuple[int, int] | None
    """Token types of the first and the second text."""

    @classmethod
    def of(cls, whole: TextTokens) -> "PairLayout":
        """Derives the layout from an encoded pair whose texts have at least one token each."""
        places = [[place for place, of in enumerate(whole.sequences) if of == number] for number in (0, 1)]
        (first, *_), (second, *_) = places
        ends = [each[-1] + 1 for each in places]
        stretches = (range(first), range(ends[0], second), range(ends[1], len(whole)))
        types = None if whole.type_ids is None else (whole.type_ids[first], whole.type_ids[second])
        return cls(*map(whole.select, stretches), types=types)

    def pair(self, first: TextTokens, second: TextTokens) -> TextTokens:
        """Joins two texts, given without special tokens, into a pair with them."""

        def joined(name: str, first_own: Sequence[Any] | None, second_own: Sequence[Any] | None) -> Any:
            if first_own is None or second_own is None:
                return None
            special = (getattr(stretch, name) for stretch in (self.before, self.between, self.behind))
            before, between, behind = special
            return [*before, *first_own, *between, *second_own, *behind]

        counts, types = (len(first), len(second)), self.types
        return TextTokens(
            joined("ids", first.ids, second.ids),
            joined("sequences", [0] * counts[0], [1] * counts[1]),
            None if types is None else joined("type_ids", [types[0]] * counts[0], [types[1]] * counts[1]),
            joined("offsets", first.offsets, second.offsets),
        )
