"""The contract's descriptors, with the types their stubs leave vague."""

from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor


def fields_of(message: Any) -> Sequence[FieldDescriptor]:
    """Returns the fields of `message`, as declared."""
    return message.fields


def container_of(field: FieldDescriptor) -> Descriptor:
    """Returns the message `field` is declared in."""
    return cast(Descriptor, field.containing_type)


def message_of(field: FieldDescriptor) -> Descriptor | None:
    """Returns the message `field` holds, if it holds messages."""
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether `field` holds values by key."""
    message = message_of(field)
    return message is not None and message.GetOptions().map_entry


def is_list(field: FieldDescriptor) -> bool:
    """Whether `field` holds several values in order."""
    return field.is_repeated and not is_map(field)


def short_names(enum: EnumDescriptor) -> dict[int, str]:
    """Returns the values' names without the enum's own: TASK_EMBED_TEXT is `embed-text`."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower().replace("_", "-") for value in enum.values}


def short_name(field: FieldDescriptor, number: int) -> str:
    """Returns the short name of `number` in the enum of `field`; the number itself where the contract has none."""
    return short_names(cast(EnumDescriptor, field.enum_type)).get(number, str(number))
