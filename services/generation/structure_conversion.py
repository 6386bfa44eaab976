"""Converts the structure of an output from the contract's message to plain values."""

from collections.abc import Iterator

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from services.engine.structure.format import StructureFormat, StructureKind

_FIELD = "parameters.structured_output"


def structure_format(parameters: common.GenerationParameters) -> StructureFormat | None:
    """Returns the format asked for; None if there is none or `structure_violations` yields what is wrong with it."""
    structured = parameters.structured_output
    match structured.WhichOneof("format"):
        case None:
            return None
        case "choice_list":
            return StructureFormat(StructureKind.CHOICE_LIST, tuple(structured.choice_list.choices))
        case "json_object":
            return StructureFormat(StructureKind.JSON_OBJECT) if structured.json_object else None
        case kind:
            text: str = getattr(structured, kind)
            return StructureFormat(StructureKind(kind), (text,))


def structure_violations(parameters: common.GenerationParameters) -> Iterator[Violation]:
    """Yields what is wrong with the message."""
    if not parameters.HasField("structured_output"):
        return
    which = parameters.structured_output.WhichOneof("format")
    if which is None:
        yield Violation(_FIELD, "must set a format: json_schema, regex, choice_list, grammar or json_object")
    elif which == "json_object" and not parameters.structured_output.json_object:
        yield Violation(f"{_FIELD}.json_object", "must be true; leave structured_output out for free text")
