"""JSON Schemas as the library takes them, with what it would not enforce refused by name.

It refuses unknown formats and the keywords of the specification that it does not implement. What stands here are the
two things it lets pass: options of its own inside a schema, and a minimum that a repeated name would meet.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from services.engine.structure.format import StructureRefused

_OPTIONS: Any = {
    # At most one space, or one or two line breaks with indentation: a model cannot go on with whitespace for ever.
    "whitespace_pattern": r"( |\n{1,2}[ \t]{0,20})",
    "coerce_one_of": False,
    "lenient": False,
}
_ESCAPES = 'nrbtf\\"'
"""Without \\uXXXX each text is written in one way only, so that a property cannot hide from its schema behind another
spelling of its name."""
_CONTROL_ESCAPE = "u"
"""Of control characters alone."""
_WITHOUT_ESCAPE = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def checked_schema(text: str) -> dict[str, Any]:
    """Returns the JSON Schema `text` with the library's options, for which documents are all that is valid under it.

    Raises:
        StructureRefused: it is no schema, or says what could not be enforced.
        RecursionError: it is nested too deeply to be read.
    """
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise StructureRefused(f"is not JSON: {error}") from error
    if schema is False:
        raise StructureRefused("admits no document")
    schema = {} if schema is True else schema
    if not isinstance(schema, dict):
        raise StructureRefused("must be a JSON object or a boolean")
    for reason in _unenforced(schema):
        raise StructureRefused(reason)
    return schema | {"x-guidance": {**_OPTIONS, "json_allowed_escapes": _escapes(schema)}}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _escapes(schema: dict[str, Any]) -> str:
    """Returns the escapes that texts may be written with: those of control characters where a value has to be.

    Raises:
        StructureRefused: a property could be written by them in several ways.
    """
    if not any(map(_WITHOUT_ESCAPE.search, _fixed(schema))):
        return _ESCAPES
    if any(map(_CONTROL.search, _names(schema))):
        raise StructureRefused(
            "const, enum: a text with control characters cannot be written beside a name of a property that has some"
        )
    return _ESCAPES + _CONTROL_ESCAPE


def _fixed(schema: Any) -> Iterator[str]:
    """Yields the texts that values are to be equal to."""
    for name, inner in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if name in ("const", "enum"):
            yield from _texts(inner)
        elif isinstance(inner, dict | list):
            yield from _fixed(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _names(schema: Any) -> Iterator[str]:
    """Yields the names of all properties, among others."""
    if isinstance(schema, dict):
        yield from schema
        yield from _texts(schema.get("required"))
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list):
            yield from _names(inner)


def _unenforced(schema: Any) -> Iterator[str]:
    """Yields what the schema, or one inside it, says in vain."""
    if isinstance(schema, list):
        for item in schema:
            yield from _unenforced(item)
    if not isinstance(schema, dict):
        return
    if "x-guidance" in schema:
        yield "x-guidance: is not a keyword of JSON Schema"
    least = schema.get("minProperties")
    required = schema.get("required")
    known = len(set(map(str, required))) if isinstance(required, list) else 0
    if isinstance(least, int | float) and least > known + 1:
        yield (
            f"minProperties: {least} with {known} required names cannot be enforced, since a name could be generated "
            "twice; it may exceed the number of required names by one"
        )
    for name, value in schema.items():
        if name in ("const", "enum", "default", "examples"):
            continue
        if name in _SCHEMA_MAPS and isinstance(value, dict):
            for inner in value.values():
                yield from _unenforced(inner)
        else:
            yield from _unenforced(value)
