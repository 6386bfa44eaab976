from typing import Any

import pytest

from sensorium.v1 import common_pb2 as common
from services.engine.structure.format import StructureFormat, StructureKind
from services.generation.structure_conversion import structure_format, structure_violations

CHOICES = common.StructuredOutput.ChoiceList(choices=["a", "b"])


def parameters(**format_: Any) -> common.GenerationParameters:
    return common.GenerationParameters(structured_output=common.StructuredOutput(**format_))


@pytest.mark.parametrize(
    ("format_", "kind", "texts"),
    [
        ({"json_schema": "{}"}, StructureKind.JSON_SCHEMA, ("{}",)),
        ({"regex": ""}, StructureKind.REGEX, ("",)),
        ({"choice_list": CHOICES}, StructureKind.CHOICE_LIST, ("a", "b")),
        ({"grammar": "root ::= "}, StructureKind.GRAMMAR, ("root ::= ",)),
        ({"json_object": True}, StructureKind.JSON_OBJECT, ()),
    ],
)
def test_each_format_arrives_with_the_name_of_its_field(
    format_: dict[str, Any], kind: StructureKind, texts: tuple[str, ...]
) -> None:
    asked = parameters(**format_)
    assert structure_format(asked) == StructureFormat(kind, texts)
    assert list(structure_violations(asked)) == []
    assert StructureFormat(kind, texts).field == f"parameters.structured_output.{next(iter(format_))}"


def test_every_format_of_the_contract_has_its_kind() -> None:
    fields = common.StructuredOutput.DESCRIPTOR.oneofs_by_name["format"].fields
    assert {field.name for field in fields} == {kind.value for kind in StructureKind}


def test_none_asks_for_none() -> None:
    plain = common.GenerationParameters(temperature=1)
    assert structure_format(plain) is None
    assert list(structure_violations(plain)) == []


@pytest.mark.parametrize(
    ("format_", "field"),
    [({}, "parameters.structured_output"), ({"json_object": False}, "parameters.structured_output.json_object")],
)
def test_a_message_that_says_nothing_is_named(format_: dict[str, Any], field: str) -> None:
    assert structure_format(parameters(**format_)) is None
    assert [violation.field for violation in structure_violations(parameters(**format_))] == [field]
