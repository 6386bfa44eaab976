"""Values around tokenizing and chat templates, free of torch and of protobuf."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


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
class Chat:
    """A conversation in the form that chat templates read."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    continue_last: bool
