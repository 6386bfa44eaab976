"""Makes tool calls of what was parsed."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from services.engine.language.responses.message import ToolCall
from services.engine.language.responses.typed_arguments import ToolTypes, read_json

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 9
"""Some chat templates refuse ids of another length."""
_LONGEST_ID = 128


class Malformed(ValueError):
    """A region holds no tool calls."""


class CallMaker:
    """Makes the tool calls of one message."""

    def __init__(self, types: ToolTypes, key: str) -> None:
        self.types = types
        self.key = key
        self._ids: set[str] = set()
        self._made = 0

    def calls(self, value: Any, *, marked: bool) -> tuple[ToolCall, ...]:
        """Returns the calls in a value: one or a list, each an object with a name and arguments.

        `marked` tells that the model marked it as a call: then one without arguments is one.

        Raises:
            Malformed: it holds no calls, or something else besides.
        """
        items = value if isinstance(value, list) else [value]
        if not items:
            raise Malformed("no call")
        read = [self._read(item, marked=marked) for item in items]
        return tuple(ToolCall(self._id(own), name, arguments) for own, name, arguments in read)

    def _read(self, item: Any, *, marked: bool) -> tuple[Any, str, str]:
        call = item.get("function", item) if isinstance(item, dict) else None
        call = call if isinstance(call, dict) else item
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(name, str) or not name or not _is_unicode(name):
            raise Malformed("a call has no name")
        missing = {} if marked else None
        arguments = call["arguments"] if "arguments" in call else call.get("parameters", missing)
        return item.get("id") or call.get("id"), name, self._arguments(name, arguments)

    def _arguments(self, name: str, arguments: Any) -> str:
        if isinstance(arguments, str) and isinstance(read_json(arguments), dict) and _is_unicode(arguments):
            return arguments
        if not isinstance(arguments, dict):
            raise Malformed("the arguments are no object")
        typed = self.types.typed(name, arguments)
        text = json.dumps(typed, ensure_ascii=False, allow_nan=False)
        return text if _is_unicode(text) else json.dumps(typed, allow_nan=False)

    def _id(self, own: Any) -> str:
        """Returns the model's own id if it has one that no call before has, or else one of this message alone."""
        fresh = isinstance(own, str) and 0 < len(own) <= _LONGEST_ID and own not in self._ids and _is_unicode(own)
        found = own if fresh else next(each for each in self._made_up() if each not in self._ids)
        self._ids.add(found)
        return found

    def _made_up(self) -> Iterator[str]:
        while True:
            said = f"{self._made}\0{self.key}".encode(errors="surrogatepass")
            number = int.from_bytes(blake2b(said, digest_size=16).digest())
            self._made += 1
            yield "".join(_DIGITS[number // len(_DIGITS) ** place % len(_DIGITS)] for place in range(_ID_LENGTH))


def _is_unicode(text: str) -> bool:
    """Returns whether a text can be sent: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
