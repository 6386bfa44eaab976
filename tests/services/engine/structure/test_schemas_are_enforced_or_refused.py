import json
from typing import Any

import jsonschema
import pytest

from services.engine.structure.format import StructureRefused
from services.engine.structure.structure import StructureFailed
from tests.services.structures import accepts, compiled, schema, wanted

ENFORCED: dict[str, tuple[Any, list[str]]] = {
    "types": ({"type": ["integer", "null"]}, ["1", "null", "1.5", '"1"', "true"]),
    "const": ({"const": {"a": [1, "é\n"]}}, ['{"a":[1,"é\\n"]}', '{"a":[1]}', "1"]),
    "names with control characters": (
        {"type": "object", "properties": {"a\n": {"type": "null"}}},
        ['{"a\\n":null}', '{"a\\n":1}', '{"b":1}', '{"a\\u000a":1}'],
    ),
    "enum": ({"enum": ["x", 2, None]}, ['"x"', "2", "null", '"y"', "3"]),
    "lengths": ({"type": "string", "minLength": 2, "maxLength": 3}, ['"a"', '"é🌊"', '"\\n\\n\\n"', '"abcd"']),
    "pattern": ({"type": "string", "pattern": "^a\\d+$"}, ['"a12"', '"a"', '"ba1"']),
    "numbers": ({"type": "number", "exclusiveMinimum": 1, "maximum": 2.5}, ["1", "1.01", "2.5", "2.51", "-3"]),
    "multiples": ({"type": "integer", "multipleOf": 7}, ["14", "-21", "0", "15"]),
    "items": (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ["[]", "[1]", "[1,2]", "[1,2,3]", '["a"]'],
    ),
    "tuples": (
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
        ["[]", "[null]", "[1]", "[null,1]"],
    ),
    "properties": (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {}},
            "required": ["b"],
            "additionalProperties": False,
        },
        ['{"a":1,"b":[]}', '{"b":1}', '{"a":1}', '{"a":"x","b":1}', '{"b":1,"c":1}'],
    ),
    "additional": (
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
        ['{"a":"x","b":1}', '{"b":"x"}', '{"a":1}', '{"\\u0061":1}'],
    ),
    "patterns": (
        {"type": "object", "patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False},
        ['{"xy":null}', '{"xy":1}', '{"y":null}'],
    ),
    "counts": (
        {"type": "object", "required": ["a"], "minProperties": 2, "maxProperties": 2},
        ['{"a":1}', '{"a":1,"b":2}', '{"a":1,"b":2,"c":3}', '{"a":1,"a":2}'],
    ),
    "all": ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 4}]}, ["2", "3", "4", "5"]),
    "any": ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"a"', "null"]),
    "one": ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"a"', "null"]),
    "recursion": (
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}},
        ["[]", "[[],[[]]]", "[1]"],
    ),
    "anchors": ({"$ref": "#n", "$defs": {"n": {"$anchor": "n", "type": "integer"}}}, ["1", '"a"']),
    "formats": ({"type": "string", "format": "ipv4"}, ['"1.2.3.4"', '"1.2.3.256"', '"x"']),
    "everything": (True, ["1", "{}", '"a"']),
    "unknown words": (
        {"type": "integer", "x-note": "mine", "title": "t", "default": 1, "examples": ["a"]},
        ["1", '"a"'],
    ),
}


@pytest.mark.parametrize("name", ENFORCED)
def test_a_document_is_admitted_if_and_only_if_it_is_valid(name: str) -> None:
    document, texts = ENFORCED[name]
    structure = compiled(schema(document))
    validator = jsonschema.Draft202012Validator(document, format_checker=jsonschema.FormatChecker())
    valid = {text: validator.is_valid(json.loads(text)) for text in texts}
    # Each string has one spelling only: unnecessary escapes and a repeated name are not allowed.
    unusual = {text for text in texts if "\\u" in text or text.count('"a":') > 1}
    assert {text for text in texts if accepts(structure, text)} == {text for text in texts if valid[text]} - unusual


def test_control_characters_of_a_value_are_written_by_their_escapes() -> None:
    value = {"enum": ["a\x01", "\x00", {"b": ["\x7f", "\n"]}]}
    structure = compiled(schema({"type": "array", "prefixItems": [value, {"type": "string"}]}))
    for first in ('"a\\u0001"', '"\\u0000"', '{"b":["\\u007f","\\n"]}'):
        assert accepts(structure, f'[{first},"x"]')
    assert not accepts(structure, '["a"]')
    assert not accepts(structure, '["a\x01"]')
    assert not accepts(structure, '["\\u0000","\\u0061"]')


@pytest.mark.parametrize("draft", [4, 6, 7, "2019-09", "2020-12"])
def test_the_draft_that_a_schema_names_is_followed(draft: int | str) -> None:
    uri = (
        f"http://json-schema.org/draft-0{draft}/schema#"
        if isinstance(draft, int)
        else f"https://json-schema.org/draft/{draft}/schema"
    )
    tuples = "prefixItems" if draft == "2020-12" else "items"
    structure = compiled(schema({"$schema": uri, "type": "array", tuples: [{"type": "integer"}], "maxItems": 1}))
    assert accepts(structure, "[1]")
    assert not accepts(structure, '["a"]')


@pytest.mark.parametrize(
    ("document", "words"),
    [
        *(
            ({keyword: value}, keyword)
            for keyword, value in {
                "not": {}, "if": {}, "contains": {}, "minContains": 1, "uniqueItems": True, "propertyNames": {},
                "dependentRequired": {"a": ["b"]}, "dependentSchemas": {}, "dependencies": {"a": ["b"]},
                "unevaluatedProperties": False, "unevaluatedItems": False, "$dynamicRef": "#a", "$recursiveRef": "#",
            }.items()
        ),
        ({"type": "object", "properties": {"a": {"items": {"not": {}}}}}, "not"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"type": "string", "format": "iri"}, "iri"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "object", "minProperties": 2}, "minProperties"),
        ({"allOf": [{"properties": {"a": {"minProperties": 3, "required": ["x"]}}}]}, "minProperties"),
        ({"x-guidance": {"lenient": True}, "not": {}}, "x-guidance"),
        ({"properties": {"a\t": {"const": "\x01"}}}, "control characters"),
        ({"allOf": [{"required": ["a\x7f"]}, {"properties": {"b": {"enum": ["\x01"]}}}]}, "control characters"),
        ({"type": "any"}, "any"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"$ref": "https://example.com/schema"}, "https://example.com/schema"),
        ({"minItems": 2, "maxItems": 1, "type": "array"}, "minItems"),
        (False, "admits no document"),
        (3, "must be a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_be_enforced_is_refused_by_name(document: Any, words: str) -> None:
    with pytest.raises((StructureRefused, StructureFailed)) as caught:
        compiled(schema(document))
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"const": Infinity}', "{'a': 1}", "\ufeff{}", '{"a": 1} x'])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(StructureRefused, match="is not JSON"):
        compiled(wanted("json_schema", text))


def test_whitespace_has_an_end() -> None:
    structure = compiled(schema({"type": "array", "items": {"type": "integer"}}))
    assert accepts(structure, "[ 1,\n\n\t  2 ]")
    assert not accepts(structure, "[" + " " * 30 + "1]")
    assert not accepts(structure, " [1]")
