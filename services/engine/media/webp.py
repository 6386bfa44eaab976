"""The head of a WebP file (RFC 9649)."""

import struct

from services.engine.media.refusal import Damaged
from services.engine.media.survey import Survey


def survey(data: bytes) -> Survey:
    """Returns the size of the canvas. The whole file is needed; its decoder expands no metadata.

    Raises:
        Damaged: it does not begin with an image's head.
        struct.error, IndexError: it ends within that head.
    """
    return Survey(*_size(data), [data])


def _size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = data[24:27], data[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise Damaged
