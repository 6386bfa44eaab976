"""Gives arguments that a model could only write as text the types of the tool's JSON schema."""

import json
import math
from collections.abc import Sequence
from typing import Any

_DEEPEST = 16


class ToolTypes:
    """The types of the parameters of tools, as chat templates take those."""

    def __init__(self, tools: Sequence[dict[str, Any]]) -> None:
        self._properties: dict[str, dict[str, Any]] = {}
        for tool in tools:
            function = _dict(tool.get("function", tool))
            properties = _dict(_dict(function.get("parameters")).get("properties"))
            if isinstance(name := function.get("name"), str):
                self._properties[name] = properties

    def __bool__(self) -> bool:
        return bool(self._properties)

    def typed(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments with texts as numbers, truth values, null, objects or lists where the tool wants those.

        A text that is none of them stays as it is.
        """
        properties = self._properties.get(tool, {})
        return {key: _typed_value(value, properties.get(key)) for key, value in arguments.items()}


def read_json(text: str) -> Any:
    """Reads JSON, as the standard has it.

    Raises:
        ValueError: it is none, or has numbers too long to read.
        RecursionError: it is nested too deep to read.
    """
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _typed_value(value: Any, schema: Any) -> Any:
    types = list(dict.fromkeys(_types(schema)))
    if isinstance(value, str):
        return _typed_text(value, types)
    if isinstance(value, list) and types and "array" not in types:  # of a parameter that was written several times
        return [_typed_text(each, types) if isinstance(each, str) else each for each in value]
    return value


def _types(schema: Any, depth: int = 0) -> list[str]:
    """Returns the types that a schema names, in its order."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return []
    named = schema.get("type")
    found = [each for each in (named if isinstance(named, list) else [named]) if isinstance(each, str)]
    for union in ("anyOf", "oneOf"):
        choices = schema.get(union)
        for choice in choices if isinstance(choices, list) else []:
            found += _types(choice, depth + 1)
    return [*found, "null"] if schema.get("nullable") and "null" not in found else found


def _typed_text(text: str, types: Sequence[str]) -> Any:
    for each in types:
        try:
            return _READERS[each](text)
        except (KeyError, ValueError, RecursionError):  # an unknown type, or a text of another
            continue
    return text


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _number(text: str) -> int | float:
    try:
        return int(text)  # as long as it is
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number of JSON")
    return int(number) if number.is_integer() and "." not in text else number


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]


def _null(text: str) -> None:
    if text.strip() not in ("null", "None"):
        raise ValueError("not null")


def _object(text: str) -> dict[str, Any]:
    if not isinstance(read := read_json(text), dict):
        raise ValueError("no object")
    return read


def _array(text: str) -> list[Any]:
    if not isinstance(read := read_json(text), list):
        raise ValueError("no list")
    return read


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


_READERS = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "null": _null,
    "object": _object,
    "array": _array,
}
