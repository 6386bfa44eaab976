"""The chunks of a PNG file (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Iterator

from services.engine.media.refusal import Damaged
from services.engine.media.survey import MOST_PIECES, Survey, too_many_pieces

_SIGNATURE_BYTES = 8
# Not tRNS: transparency is dropped. Not acTL and its like: of an animation only the default image is read.
_NEEDED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))


def survey(data: bytes) -> Survey:
    """Reads the chunks. Compressed metadata is skipped and never decompressed.

    Raises:
        Damaged: A chunk is cut off or has a wrong checksum, or `IHDR` is not the first chunk and the only one.
        ImageRefused: there are too many chunks.
        struct.error: the file ends within a chunk's head, or without `IEND`.
    """
    view = memoryview(data)
    width, height = struct.unpack_from(">II", view, _SIGNATURE_BYTES + 8)
    parts: list[bytes | memoryview] = [view[:_SIGNATURE_BYTES]]
    exif = b""
    for kind, chunk in _chunks(view):
        # A second header would change the size behind the limits' back.
        if (kind == b"IHDR") != (len(parts) == 1):
            raise Damaged
        if kind in _NEEDED:
            parts.append(chunk)
        elif kind == b"eXIf":
            exif = bytes(chunk[8:-4])
    return Survey(width, height, parts, exif)


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields every chunk up to `IEND` by its type: length, type, data and checksum."""
    place = _SIGNATURE_BYTES
    for _ in range(MOST_PIECES):
        length, kind = struct.unpack_from(">I4s", view, place)
        end = place + 12 + length
        if end > len(view) or zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise Damaged
        yield kind, view[place:end]
        if kind == b"IEND":
            return
        place = end
    raise too_many_pieces()
