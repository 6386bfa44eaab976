"""Parses requests, and refuses those with so many fields that they would block the event loop.

An empty turn of a conversation takes two bytes and becomes a message, which is made and checked by itself: a few
megabytes of them would delay every stream by seconds.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from sensorium.errors import InvalidArgument
from sensorium.rpc.wire import VARINT_END, Malformed, Scan

FIELD_LIMIT = 65_536
"""The most fields of a request, nested ones included: as many as a page of 9,000 words with their boxes has."""
_LEAST_BYTES = 2
"""The least bytes of a field."""

RequestT = TypeVar("RequestT", bound=Message)


def parser(kind: type[RequestT]) -> Callable[[bytes], RequestT]:
    """Returns a function that parses a message and raises InvalidArgument if it has more than `FIELD_LIMIT` fields."""
    descriptor: Any = kind.DESCRIPTOR

    def parse(data: bytes) -> RequestT:
        if len(data) > FIELD_LIMIT * _LEAST_BYTES:
            try:
                _walk(Scan(data, FIELD_LIMIT), 0, len(data), descriptor)
            except Malformed as error:
                raise InvalidArgument([], f"The bytes of the request {error}.") from None
        return kind.FromString(data)

    return parse


def _walk(scan: Scan, start: int, end: int, kind: Descriptor) -> None:
    inner = _inner(kind)
    for number, first, last in scan.fields(start, end, inner):
        if last != VARINT_END:
            _walk(scan, first, last, inner[number])


@cache
def _inner(kind: Descriptor) -> dict[int, Descriptor]:
    """Returns the types of a message's submessages, by their field numbers."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
