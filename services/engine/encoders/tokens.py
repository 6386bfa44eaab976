"""The tokens of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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
