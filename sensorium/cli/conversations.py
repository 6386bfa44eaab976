"""Conversations, tools and variables of chat templates, as people write them: in the form of most chat APIs."""

import json
from typing import Any

import typer

from sensorium.cli import values
from sensorium.cli.descriptors import short_names
from sensorium.cli.fields import merge_json
from sensorium.v1.common_pb2 import ChatMessage, Role, Tool
from sensorium.v1.multimodal_pb2 import ContentPart, MultimodalMessage

_ROLES = {name: number for number, name in short_names(Role.DESCRIPTOR).items() if number}
_QUOTED = """a text that looks like it needs quotes of its own, '"True"'"""


def messages(path: str, kind: type[ChatMessage | MultimodalMessage]) -> list[Any]:
    """Returns the messages of this `kind` that a file lists.

    Raises:
        BadParameter: it lists none; tells where and what is wrong.
    """
    written = values.json_file(path)
    if not isinstance(written, list):
        raise typer.BadParameter('A list of messages is needed, such as [{"role": "user", "content": "Hi"}].')
    return [_placed(f"messages[{place}]", _message, each, kind) for place, each in enumerate(written)]


def tools(path: str) -> list[Tool]:
    """Returns the tools that a file describes, one or a list.

    Raises:
        BadParameter: it describes none; tells where and what is wrong.
    """
    written = values.json_file(path)
    return [
        _placed(f"tools[{place}]", _tool, each)
        for place, each in enumerate(written if isinstance(written, list) else [written])
    ]


def template_variable(typed: str) -> tuple[str, str]:
    """Returns the name and, as JSON, the value in `NAME=VALUE`; a value that is no JSON is a text.

    Raises:
        BadParameter: there is no name, or a value that was meant to be JSON.
    """
    name, equals, value = typed.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{typed!r} is not NAME=VALUE, such as enable_thinking=false.")
    try:
        json.loads(value, parse_constant=_no_number)
    except (ValueError, RecursionError):
        if value.startswith(("{", "[", '"')) or value in {"True", "False", "None"}:
            raise typer.BadParameter(f"{value} is not JSON, which writes true, false and null; {_QUOTED}.") from None
        return name, json.dumps(value)
    return name, value


def _no_number(name: str) -> None:
    raise ValueError(name)


def _placed(place: str, read: Any, *given: Any) -> Any:
    try:
        return read(*given)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{place}: {error.message}") from None


def _message(written: Any, kind: type[ChatMessage | MultimodalMessage]) -> ChatMessage | MultimodalMessage:
    fields, message = _object(written), kind()
    role = str(fields.get("role"))
    if role not in _ROLES:
        raise typer.BadParameter(f"role must be one of {', '.join(_ROLES)}.")
    fields["role"] = _ROLES[role]
    if isinstance(fields.get("tool_calls"), list):
        fields["tool_calls"] = [_function(call, "arguments", "arguments_json") for call in fields["tool_calls"]]
    if isinstance(message, MultimodalMessage):
        message.parts.extend(_parts(fields.pop("content", None)))
    merge_json(fields, message)
    return message


def _parts(content: Any) -> list[ContentPart]:
    match content:
        case None | "":
            return []
        case str():
            return [ContentPart(text=content)]
        case list():
            return [_part(_object(part)) for part in content]
        case _:
            raise typer.BadParameter("content must be a text or a list of parts.")


def _part(written: dict[str, Any]) -> ContentPart:
    match {name: value for name, value in written.items() if name != "type"}:
        case {"text": str(text), **rest} if not rest:
            return ContentPart(text=text)
        case {"image": str(typed), **rest} if not rest:
            return ContentPart(image=values.media(typed))
        case {"audio": str(typed), **rest} if not rest:
            return ContentPart(audio=values.media(typed))
        case _:
            raise typer.BadParameter('A part is {"text": "…"}, {"image": "FILE"} or {"audio": "FILE"}.')


def _tool(written: Any) -> Tool:
    tool = Tool()
    merge_json(_function(written, "parameters", "parameters_json_schema"), tool)
    if not tool.name:
        raise typer.BadParameter('A tool needs a name: {"name": "…", "description": "…", "parameters": {…}}.')
    return tool


def _function(written: Any, name: str, written_as: str) -> dict[str, Any]:
    """Returns the fields of a function as the contract has them, with the JSON value under `name` as text."""
    fields = _object(written)
    if fields.get("type") == "function":
        del fields["type"]
    fields |= _object(fields.pop("function", {}))
    if name in fields:
        value = fields.pop(name)
        fields[written_as] = value if isinstance(value, str) else json.dumps(value)
    return fields


def _object(written: Any) -> dict[str, Any]:
    if not isinstance(written, dict):
        raise typer.BadParameter(f"{json.dumps(written)} is not a JSON object.")
    return dict(written)
