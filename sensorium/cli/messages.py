"""An assistant's message as it appears to a person."""

from sensorium.cli.terminal import printable
from sensorium.v1.common_pb2 import AssistantMessage, ToolCall

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_BEGIN, _END = "[reasoning]\n", "[/reasoning]\n"


class MessageText:
    """Writes the parts of one message: calls of tools on a line each, reasoning dim if on a `terminal`, else marked."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._reasons = False
        self._line_begins = True

    def add(self, part: AssistantMessage) -> str:
        """Returns what is to be written of a part."""
        text = self._reasoning(part.reasoning) if part.reasoning else ""
        if part.content:
            text += self.end() + self._written(part.content)
        for call in part.tool_calls:
            text += self.end() + self._call(call)
        return text

    def end(self) -> str:
        """Returns what is to be written where reasoning ends, with the message or before something else."""
        if not self._reasons:
            return ""
        self._reasons = False
        return self._line() + ("" if self._terminal else _END)

    def _reasoning(self, said: str) -> str:
        begin = ""
        if not self._reasons:
            self._reasons = True
            begin = self._line() + ("" if self._terminal else _BEGIN)
        said = self._written(said)
        return begin + (f"{_DIM}{said}{_PLAIN}" if self._terminal else said)

    def _call(self, call: ToolCall) -> str:
        return self._line() + self._written(f"{call.name} {call.arguments_json}\n")

    def _line(self) -> str:
        """Returns what begins a new line, if anything."""
        return "" if self._line_begins else self._written("\n")

    def _written(self, said: str) -> str:
        self._line_begins = said.endswith("\n")
        return printable(said) if self._terminal else said
