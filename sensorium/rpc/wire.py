"""Finds fields in a serialized message without parsing the rest.

The scan jumps over everything else by its length, so that its work grows with the number of a message's fields and not
with their sizes, and it copies nothing.
"""

from collections.abc import Collection, Iterator

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = 0, 1, 2, 3, 4, 5
_MAX_FIELD = 2**29 - 1

FIELD_LIMIT = 10_000
"""Fields scanned at most. Messages have a few dozen, and as many more as they have items. This many take some
milliseconds, in which nothing else moves."""

VARINT_END = -1
"""Stands in the place of a varint's end."""


class Malformed(ValueError):
    """The bytes are not a message; the text says why."""


class TooManyFields(Malformed):
    """They may be a message, of more fields than may be scanned."""


class Scan:
    """Goes over the fields of a message and of messages inside it, over so many in all and no more."""

    def __init__(self, data: bytes, most: int = FIELD_LIMIT) -> None:
        self._data = data
        self._most = most
        self._seen = 0

    def fields(self, position: int, end: int, wanted: Collection[int]) -> Iterator[tuple[int, int, int]]:
        """Yields each field of the bytes from `position` to `end` whose number is wanted.

        It is (number, start, end) of what has a length. A varint is (number, value, `VARINT_END`), its value without
        sign; fields of other kinds are passed over.

        Raises:
            Malformed: the bytes are not a message.
            TooManyFields: these fields are more than may be scanned, with those before.
        """
        data = self._data
        while position != end:
            if self._seen == self._most:
                raise TooManyFields(f"have more than {self._most} fields")
            self._seen += 1
            tag, position = _varint(data, position, end)
            field, kind = tag >> 3, tag & 7
            if not 0 < field <= _MAX_FIELD:
                raise Malformed("are not a protobuf message")
            if kind == _LENGTH:
                length, position = _varint(data, position, end)
                if field in wanted and length <= end - position:
                    yield field, position, position + length
                position += length
            elif kind == _VARINT:
                value, position = _varint(data, position, end)
                if field in wanted:
                    yield field, value, VARINT_END
            elif kind == _FIXED64:
                position += 8
            elif kind == _FIXED32:
                position += 4
            else:
                # Groups are not part of proto3, and no message of the contract has one.
                raise Malformed("are not a protobuf message")
            if position > end:
                raise Malformed("are not a protobuf message")


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
    raise Malformed("are not a protobuf message")
