"""The parts of an assistant's message."""

from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = 512


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool that the model wishes for. `arguments_json` is the text of a JSON object."""

    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True)
class MessagePart:
    """What a piece of a model's output adds to its message. False if that is nothing."""

    reasoning: str = ""
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.reasoning or self.content or self.tool_calls)


def pieces(text: str) -> Iterator[str]:
    """Yields a text in parts that take a few milliseconds to parse, where each character may begin a mark."""
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
