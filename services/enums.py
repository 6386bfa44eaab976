"""Finds enum numbers that the contract does not know, which proto3 accepts silently."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from sensorium.errors import Violation


def unknown_enum_numbers(message: Message, path: str = "") -> Iterator[Violation]:
    """Yields a violation for each set enum field, at any depth, whose number has no name."""
    for field in _read(message.DESCRIPTOR):
        if field.has_presence and not message.HasField(field.name):
            continue
        name = f"{path}{field.name}"
        items = _items(field, name, getattr(message, field.name))
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for place, item in items:
                yield from unknown_enum_numbers(item, f"{place}.")
        else:
            kind: Any = field.enum_type
            known: EnumDescriptor = kind
            for place, number in items:
                if number not in known.values_by_number:
                    yield Violation(place, f"has the unknown value {number} of {known.name}")


@cache
def _read(kind: Descriptor) -> tuple[FieldDescriptor, ...]:
    """Returns the fields of messages and enums. To read others, as `ListFields` does, would copy texts and media."""
    fields = sorted(kind.fields, key=lambda field: field.number)
    return tuple(
        field
        for field in fields
        if field.type == FieldDescriptor.TYPE_ENUM
        or (field.message_type is not None and not field.message_type.GetOptions().map_entry)
    )


def _items(field: FieldDescriptor, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if field.is_repeated:
        yield from ((f"{name}[{i}]", item) for i, item in enumerate(value))
    else:
        yield name, value
