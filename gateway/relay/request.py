"""Finds the model and the priority in a serialized request without parsing the rest.

Field 1 of every request is `string model`; in a stream, field 1 of the first message is a config whose field 1 is the
model. Fields may come in any order, and as in protobuf, the last occurrence wins.
"""

from sensorium.errors import InvalidArgument
from sensorium.rpc.wire import VARINT_END, Malformed, Scan

_MODEL = 1
_NOWHERE = (0, 0)


def model_and_priority_of(request: bytes, priority_field: int) -> tuple[str, int]:
    """Returns the model named in a request and the `int32` in field `priority_field`; empty and 0 if absent.

    Raises:
        InvalidArgument: the bytes are not a protobuf message, or the name is not UTF-8.
    """
    span, priority = _NOWHERE, 0
    try:
        for field, start, end in Scan(request).fields(0, len(request), (_MODEL, priority_field)):
            if end == VARINT_END:
                priority = start if field == priority_field else priority
            elif field == _MODEL:
                span = start, end
    except Malformed as error:
        raise _invalid(error) from None
    return _text(request, span), _signed(priority)


def model_of_config(message: bytes) -> str:
    """Returns the model named in the config, which is field 1 of a stream's first message; empty if absent.

    As in protobuf, several configs are merged, and later fields win.

    Raises:
        InvalidArgument: as `model_and_priority_of`.
    """
    span, scan = _NOWHERE, Scan(message)
    try:
        for _, start, end in _lengths(scan, 0, len(message)):
            for _, first, last in _lengths(scan, start, end):
                span = first, last
    except Malformed as error:
        raise _invalid(error) from None
    return _text(message, span)


def _lengths(scan: Scan, start: int, end: int) -> list[tuple[int, int, int]]:
    return [found for found in scan.fields(start, end, (_MODEL,)) if found[2] != VARINT_END]


def _text(data: bytes, span: tuple[int, int]) -> str:
    try:
        return data[span[0] : span[1]].decode()
    except UnicodeDecodeError:
        raise InvalidArgument([], "The name of the model is not valid UTF-8.") from None


def _signed(value: int) -> int:
    """Returns a varint as `int32`: its low 32 bits, as in protobuf."""
    low = value & 0xFFFF_FFFF
    return low - 2**32 if low >= 2**31 else low


def _invalid(error: Malformed) -> InvalidArgument:
    return InvalidArgument([], f"The bytes of the request {error}.")
