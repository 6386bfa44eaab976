"""The parts of an assistant's message."""

from dataclasses import dataclass


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
