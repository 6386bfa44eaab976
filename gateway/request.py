"""Finds the model in a serialized request without parsing the rest.

Field 1 of every request is `string model`; in a stream, field 1 of the first message is a config whose field 1 is the
model. The scan jumps over everything else by its length, so that its work grows with the number of top-level fields and
not with their sizes, and it copies nothing but the name.
"""

from collections.abc import Iterator

from sensorium.errors import InvalidArgument

_MODEL = 1
_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = 0, 1, 2, 3, 4, 5
_MAX_FIELD = 2**29 - 1
# Requests have a few dozen top-level fields, and as many more as they have texts. This many take some milliseconds, in
# which nothing else moves.
_FIELD_LIMIT = 10_000


def model_of(request: bytes) -> str:
    """Returns the model named in a request; empty where it names none. As in protobuf, the last one wins.

    Raises:
        InvalidArgument: the bytes are not a protobuf message, or the name is not UTF-8.
    """
    return _text(request, _last(request, 0, len(request)))


def model_of_config(message: bytes) -> str:
    """Returns the model named in the config that is field 1 of a stream's first message.

    As in protobuf, several configs count as one whose later fields win.

    Raises:
        InvalidArgument: as `model_of`.
    """
    found = (0, 0)
    for start, end in _values(message, 0, len(message)):
        within = _last(message, start, end)
        found = within if within != (0, 0) else found
    return _text(message, found)


def _last(data: bytes, start: int, end: int) -> tuple[int, int]:
    found = (0, 0)
    for value in _values(data, start, end):
        found = value
    return found


def _text(data: bytes, span: tuple[int, int]) -> str:
    try:
        return data[span[0] : span[1]].decode()
    except UnicodeDecodeError:
        raise InvalidArgument([], "The name of the model is not valid UTF-8.") from None


def _values(data: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields where each length-delimited field 1 in `data[position:end]` begins and ends."""
    for _ in range(_FIELD_LIMIT):
        if position == end:
            return
        tag, position = _varint(data, position, end)
        field, kind = tag >> 3, tag & 7
        if not 0 < field <= _MAX_FIELD:
            raise _malformed()
        if kind == _LENGTH:
            length, position = _varint(data, position, end)
            if field == _MODEL and length <= end - position:
                yield position, position + length
            position += length
        else:
            position = _skip(data, kind, position, end)
        if position > end:
            raise _malformed()
    raise InvalidArgument([], f"The request has more than {_FIELD_LIMIT} fields.")


def _skip(data: bytes, kind: int, position: int, end: int) -> int:
    if kind == _VARINT:
        return _varint(data, position, end)[1]
    if kind == _FIXED64:
        return position + 8
    if kind == _FIXED32:
        return position + 4
    # Groups are not part of proto3, and no message of the contract has one.
    raise _malformed()


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise _malformed()


def _malformed() -> InvalidArgument:
    return InvalidArgument([], "The bytes of the request are not a protobuf message.")
