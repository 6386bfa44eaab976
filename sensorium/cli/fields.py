"""The fields of a request as options and arguments, made from its descriptor."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, cast

import typer
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from sensorium.cli import values
from sensorium.cli.descriptors import fields_of, is_list, message_of, short_names
from sensorium.cli.documentation import field_documentation

PLAIN = {"parameters", "config", "beam_search", "structured_output"}
"""Fields whose own fields stand among the request's, without a prefix."""

_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_INT64: int,
    FieldDescriptor.CPPTYPE_FLOAT: float,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
}

Path = tuple[FieldDescriptor, ...]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command. `put` writes what was given for it into the request."""

    name: str
    annotation: Any
    put: Callable[[Message, Any], None]
    positional: bool = False

    @property
    def hint(self) -> str:
        """What a person calls it."""
        return self.name.upper() if self.positional else _flag(self.name)


@dataclass(frozen=True)
class _Reading:
    """The type a person types, how it becomes the field's value, and what stands for it in the help."""

    kind: Any
    read: Callable[[Any], Any]
    metavar: str | None = None


def parameters(request: Descriptor, skipped: frozenset[str] = frozenset()) -> list[Parameter]:
    """Returns parameters for the fields of `request` but its model and those `skipped`: what it is about as arguments.

    Fields of messages are reached too: as options of their own, or as protobuf JSON where they are lists or choices.
    """
    arguments = _argument_names(request)
    found: list[Parameter] = []
    for path in _paths(request, ()):
        field = path[-1]
        if path[0].name in skipped:
            continue
        if len(path) == 1 and field.name in arguments:
            found.append(_argument(field))
        else:
            found.append(_option(path))
            if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and field.has_presence:
                found.append(_negation(path))
    return found


def _paths(message: Descriptor, path: Path) -> Iterator[Path]:
    for field in fields_of(message):
        inner = message_of(field)
        if field.name == "model" and len(message.fields) > 1:
            continue
        if inner is not None and _is_flat(field, inner):
            yield from _paths(inner, (*path, field))
        else:
            yield (*path, field)


def _is_flat(field: FieldDescriptor, inner: Descriptor) -> bool:
    chosen = field.containing_oneof is not None and field.name not in PLAIN
    return not field.is_repeated and not chosen and inner.full_name not in values.MESSAGES


def _argument_names(request: Descriptor) -> frozenset[str]:
    """Returns the fields a request is about: the first ones, up to a list, as far as they are text, media or tokens."""
    names: list[str] = []
    for field in fields_of(request):
        if field.name == "model" and len(request.fields) > 1:
            continue
        inner = message_of(field)
        text = field.type == FieldDescriptor.TYPE_STRING and not field.has_presence
        if not text and not (inner is not None and inner.full_name in values.MESSAGES):
            break
        if field.containing_oneof is not None or field.name.endswith("language"):
            break
        names.append(field.name)
        if field.is_repeated:
            break
    return frozenset(names)


def _argument(field: FieldDescriptor) -> Parameter:
    reading = _reading(field)
    mark = typer.Argument(help=field_documentation(field), metavar=field.name.upper())
    return Parameter(field.name, Annotated[_typed(field, reading), mark], _writer((field,), reading), True)  # type: ignore[valid-type]


def _option(path: Path) -> Parameter:
    field, name, reading = path[-1], _name(path), _reading(path[-1])
    help_text = field_documentation(field)
    if reading.kind is bool and field.has_presence:
        help_text += f" {_flag('no_' + name)} for false."
    mark = typer.Option(_flag(name), help=help_text, metavar=reading.metavar, rich_help_panel=_panel(path))
    return Parameter(name, Annotated[_typed(field, reading), mark], _writer(path, reading))  # type: ignore[valid-type]


def _negation(path: Path) -> Parameter:
    """Returns the flag that says false where absent is something else."""
    name = "no_" + _name(path)
    annotation = Annotated[bool | None, typer.Option(_flag(name), hidden=True)]
    return Parameter(name, annotation, _writer(path, _Reading(bool, lambda _: False)))


def _name(path: Path) -> str:
    return "_".join(step.name for step in path if step.name not in PLAIN)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _panel(path: Path) -> str:
    return "Generation parameters" if path[0].name == "parameters" else "Request"


def _typed(field: FieldDescriptor, reading: _Reading) -> Any:
    return (list[reading.kind] if is_list(field) else reading.kind) | None


def _reading(field: FieldDescriptor) -> _Reading:
    inner = message_of(field)
    if field.enum_type is not None:
        numbers = {name: number for number, name in short_names(field.enum_type).items() if number}
        choice: Any = Enum(field.enum_type.name, {name: name for name in numbers})
        return _Reading(choice, lambda member: numbers[member.value])
    if inner is not None:
        read, metavar = values.MESSAGES.get(inner.full_name, (values.json_value, "JSON"))
        return _Reading(str, read, metavar)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _Reading(bool, bool)
    if field.cpp_type in _NUMBERS:
        kind = _NUMBERS[field.cpp_type]
        return _Reading(kind, kind)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _Reading(str, values.content, "FILE")
    return _Reading(str, values.text, "TEXT")


def _writer(path: Path, reading: _Reading) -> Callable[[Message, Any], None]:
    *outer, field = path

    def put(request: Message, given: Any) -> None:
        for step in outer:
            request = getattr(request, step.name)
        value: Any = [reading.read(one) for one in given] if is_list(field) else reading.read(given)
        if reading.read is values.json_value:
            merge_json({field.json_name: value}, request)
        elif is_list(field):
            getattr(request, field.name).extend(value)
        elif message_of(field) is not None:
            getattr(request, field.name).CopyFrom(value)
        else:
            setattr(request, field.name, value)

    return put


def merge_json(value: Any, request: Message) -> None:
    """Merges protobuf JSON into `request`.

    Raises:
        BadParameter: it does not fit.
    """
    if not isinstance(value, dict):
        raise typer.BadParameter("A JSON object is needed.")
    try:
        json_format.ParseDict(cast(dict[str, Any], value), request)
    except json_format.ParseError as error:
        raise typer.BadParameter(str(error)) from None
