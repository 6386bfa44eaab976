"""The blocks of a GIF file (GIF89a specification) up to its first frame."""

import struct

from services.engine.media.refusal import Damaged
from services.engine.media.survey import MOST_PIECES, Survey, too_many_pieces

_EXTENSION, _IMAGE = 0x21, 0x2C
_GRAPHIC_CONTROL = 0xF9


def survey(data: bytes) -> Survey:
    """Reads the blocks before the first frame's data.

    The size is the screen's, widened to what the frame covers, as browsers do. Comments and the like are left out.

    Raises:
        Damaged: there is no frame, or something else than blocks before it.
        ImageRefused: there are too many blocks before it.
        struct.error, IndexError: the file ends before it.
    """
    view = memoryview(data)
    width, height, flags = struct.unpack_from("<HHB", view, 6)
    place = head = 13 + _palette_bytes(flags)
    control = view[:0]
    pieces = 0
    while data[place] == _EXTENSION:
        end, count = _extension_end(data, place)
        if data[place + 1] == _GRAPHIC_CONTROL:
            control = view[place:end]
        place, pieces = end, pieces + count
        if pieces > MOST_PIECES:
            raise too_many_pieces()
    if data[place] != _IMAGE:
        raise Damaged
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", view, place + 1)
    size = max(width, left + frame_width), max(height, top + frame_height)
    return Survey(*size, [view[:head], control, view[place:]])


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _extension_end(data: bytes, place: int) -> tuple[int, int]:
    """Returns where an extension ends, and its number of blocks, the empty one at its end included."""
    place, count = place + 2, 1
    while data[place] and count <= MOST_PIECES:
        place, count = place + 1 + data[place], count + 1
    return place + 1, count
