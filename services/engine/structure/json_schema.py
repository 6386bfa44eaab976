"""JSON Schemas as the library takes them, with what it would not enforce refused by name.

It refuses unknown formats and the keywords of the specification that it does not implement. What stands here are the
two things it lets pass: options of its own inside a schema, and a minimum that a repeated name would meet.
"""

import json
from collections.abc import Iterator
from typing import Any

from services.engine.structure.format import StructureRefused

_OPTIONS: Any = {
    # At most one space, or one or two line breaks with indentation: a model cannot go on with whitespace for ever.
    "whitespace_pattern": r"( |\n{1,2}[ \t]{0,20})",
    # Without \uXXXX each text is written in one way only, so that a property cannot hide from its schema behind
    # another spelling of its name.
    "json_allowed_escapes": 'nrbtf\\"',
    "coerce_one_of": False,
    "lenient": False,
}
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
    return schema | {"x-guidance": _OPTIONS}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


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
