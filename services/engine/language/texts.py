"""Values around tokenizing and chat templates, free of torch and of protobuf."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

_SHORT = 512
"""Bytes in UTF-8; a rare character may become dozens of tokens."""


def are_short(*texts: str) -> bool:
    """Returns whether a fast tokenizer makes tokens of all of them in a tenth of a millisecond."""
    return sum(map(len, texts)) <= _SHORT and sum(len(text.encode()) for text in texts) <= _SHORT


class Truncation(Enum):
    """What happens to a text that is too long."""

    NONE = "none"
    """It is refused."""
    START = "start"
    """Its end is kept."""
    END = "end"
    """Its start is kept."""


@dataclass(frozen=True)
class EncodedToken:
    """One token of a text. Offsets count code points and are None where the tokenizer keeps none."""

    id: int
    piece: str
    special: bool
    start: int | None
    end: int | None


@dataclass(frozen=True)
class EncodedText:
    """The tokens of a text, each made when it is come to.

    Of a long text they would be a million objects at once, which Python's collector goes over again and again, with
    every other thread held up meanwhile.
    """

    ids: Sequence[int]
    pieces: Sequence[str]
    offsets: Sequence[tuple[int | None, int | None]]
    special_ids: frozenset[int]

    def __len__(self) -> int:
        """Returns how many tokens there are."""
        return len(self.ids)

    def __iter__(self) -> Iterator[EncodedToken]:
        """Yields the tokens in order."""
        for token_id, piece, span in zip(self.ids, self.pieces, self.offsets, strict=True):
            yield EncodedToken(token_id, piece, token_id in self.special_ids, *span)


@dataclass(frozen=True)
class Chat:
    """A conversation in the form that chat templates read."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    continue_last: bool
