"""Finds enum numbers that the contract does not know, which proto3 accepts silently."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from sensorium.errors import Violation


def unknown_enum_numbers(message: Message, path: str = "") -> Iterator[Violation]:
    """Yields a violation for each set enum field, at any depth, whose number has no name."""
    for field, value in message.ListFields():
        name = f"{path}{field.name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for place, item in _items(field, name, value):
                yield from unknown_enum_numbers(item, f"{place}.")
        elif field.type == FieldDescriptor.TYPE_ENUM:
            kind: Any = field.enum_type
            known: EnumDescriptor = kind
            for place, number in _items(field, name, value):
                if number not in known.values_by_number:
                    yield Violation(place, f"has the unknown value {number} of {known.name}")


def _items(field: FieldDescriptor, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if field.is_repeated:
        yield from ((f"{name}[{i}]", item) for i, item in enumerate(value))
    else:
        yield name, value
