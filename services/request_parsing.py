"""From the bytes of a request to its message, unless it has so many fields that nothing else would move meanwhile.

A turn of a conversation takes two bytes and is a message of its own, which is made, walked and checked by itself: a
few megabytes of them would keep every stream waiting for seconds.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from sensorium.errors import InvalidArgument
from sensorium.rpc.wire import VARINT_END, Malformed, Scan

FIELD_LIMIT = 65_536
"""Fields of a request, those of messages inside it included; a page of 9,000 words with their places has as many."""
_LEAST_BYTES = 2
"""That a field takes."""

RequestT = TypeVar("RequestT", bound=Message)


def parser(kind: type[RequestT]) -> Callable[[bytes], RequestT]:
    """Returns what makes a message of bytes, and refuses those with more fields than `FIELD_LIMIT`."""
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
    """Returns the messages inside a message, by the numbers of their fields."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
