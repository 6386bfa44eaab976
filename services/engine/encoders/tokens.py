"""The tokens of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextTokens:
    """The tokens of a text, or of a pair of texts, with the special ones around them."""

    ids: Sequence[int]
    sequences: Sequence[int | None]
    """The text (0 or 1) of each token; None for special tokens."""
    type_ids: Sequence[int] | None = None
    """Token types, if the model has any."""
    offsets: Sequence[tuple[int, int]] | None = None
    """(start, end) of each token in code points of its text; None if the tokenizer has no offsets."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, places: Sequence[int]) -> "TextTokens":
        """Returns the tokens at these indices."""

        def picked(values: Sequence[Any] | None) -> Any:
            return None if values is None else [values[place] for place in places]

        return TextTokens(*map(picked, (self.ids, self.sequences, self.type_ids, self.offsets)))
