"""Prepares JSON Schemas for the library, and refuses what the library would accept without enforcing it.

The library itself refuses unknown formats and keywords that it does not implement. It wrongly accepts two things, which
are refused here: its own options inside a schema, and a `minProperties` that a repeated name could satisfy.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from services.engine.structure.format import StructureRefused

_OPTIONS: Any = {
    # One space, or one or two line breaks with indentation, so that a model cannot generate whitespace for ever.
    "whitespace_pattern": r"( |\n{1,2}[ \t]{0,20})",
    "coerce_one_of": False,
    "lenient": False,
}
_ESCAPES = 'nrbtf\\"'
"""Allowed escapes. Without \\uXXXX every string has exactly one spelling, so a property cannot evade its schema by
another spelling of its name."""
_CONTROL_ESCAPE = "u"
"""Added only for control characters that have no short escape."""
_WITHOUT_ESCAPE = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def checked_schema(text: str) -> dict[str, Any]:
    """Returns the JSON Schema `text` with the library's options.

    Raises:
        StructureRefused: it is not a schema, or has something that cannot be enforced.
        RecursionError: it is nested too deeply.
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
    """Returns the escapes allowed in strings: hexadecimal ones only if a fixed value needs them.

    Raises:
        StructureRefused: with hexadecimal escapes, the name of a property would have several spellings.
    """
    if not any(map(_WITHOUT_ESCAPE.search, _fixed(schema))):
        return _ESCAPES
    if any(map(_CONTROL.search, _names(schema))):
        raise StructureRefused(
            "const, enum: a text with control characters cannot be written beside a name of a property that has some"
        )
    return _ESCAPES + _CONTROL_ESCAPE


def _fixed(schema: Any) -> Iterator[str]:
    """Yields the strings in `const` and `enum`."""
    for name, inner in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if name in ("const", "enum"):
            yield from _texts(inner)
        elif isinstance(inner, (dict, list)):
            yield from _fixed(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _names(schema: Any) -> Iterator[str]:
    """Yields the names of all properties, and also other keys of the schema."""
    if isinstance(schema, dict):
        yield from schema
        yield from _texts(schema.get("required"))
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, (dict, list)):
            yield from _names(inner)


def _unenforced(schema: Any) -> Iterator[str]:
    """Yields messages for what cannot be enforced in the schema or its subschemas."""
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
