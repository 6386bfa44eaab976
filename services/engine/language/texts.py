"""Values for tokenizing and chat templates, without torch and protobuf."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_SHORT = 512
"""Limit in UTF-8 bytes, since a rare character may become dozens of tokens."""


def are_short(*texts: str) -> bool:
    """Returns whether a fast tokenizer encodes all of the texts within about 0.1 ms."""
    return sum(map(len, texts)) <= _SHORT and sum(len(text.encode()) for text in texts) <= _SHORT


class Truncation(Enum):
    """How a text that is too long is cut."""

    NONE = "none"
    """Not at all: it is refused."""
    START = "start"
    """At its start: the end is kept."""
    END = "end"
    """At its end: the start is kept."""


@dataclass(frozen=True)
class EncodedToken:
    """One token of a text. Offsets count code points; they are None if the tokenizer has none."""

    id: int
    piece: str
    special: bool
    start: int | None
    end: int | None


@dataclass(frozen=True)
class EncodedText:
    """The tokens of a text, each created while iterating.

    A long text would need a million objects at once, which Python's garbage collector would scan again and again while
    all other threads wait.
    """

    ids: Sequence[int]
    pieces: Sequence[str]
    offsets: Sequence[tuple[int | None, int | None]]
    special_ids: frozenset[int]

    def __len__(self) -> int:
        """Returns the number of tokens."""
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
    variables: dict[str, Any] = field(default_factory=dict)
    """Values of further variables of the template."""
    thinks: bool = True
    """Whether the model may think before it answers, where its template leaves that open."""
