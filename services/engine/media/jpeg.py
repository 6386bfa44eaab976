"""The segments of a JPEG file (ITU-T T.81)."""

import re
import struct

from services.engine.media.refusal import Damaged, ImageRefused
from services.engine.media.survey import MOST_PIECES, Survey, too_many_pieces

# Within coded data 0xFF is followed by 0, or by a restart marker; before a marker it may be repeated.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START, _END, _SCAN, _APP0, _APP1, _APP14, _COMMENT = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_METADATA = frozenset((*range(0xE0, 0xF0), _COMMENT))
# Which colours the components are depends on these two.
_NEEDED_METADATA = {_APP0: b"JFIF\0", _APP14: b"Adobe"}
_EXIF = b"Exif\0\0"

MOST_SCANS = 64
"""Most scans (passes over the whole image). Progressive files have about ten; small files can hold thousands."""


def survey(data: bytes) -> Survey:
    """Reads the segments up to the end of the image; data appended after it is left out.

    Raises:
        Damaged: a segment is cut off, or the image's head or data are lacking.
        ImageRefused: there are too many segments, or scans.
        struct.error: the file ends within a segment's head.
    """
    view = memoryview(data)
    parts: list[bytes | memoryview] = [view[:2]]
    size, exif, scans, place = None, b"", 0, 2
    for _ in range(MOST_PIECES):
        marker, start, end = _segment(data, place)
        if marker in _FRAMES:
            size = struct.unpack_from(">HH", view, start + 5)
        elif marker == _SCAN:
            scans += 1
        elif marker == _APP1 and not exif and data.startswith(_EXIF, start + 4):
            exif = data[start + 4 : end]
        if marker not in _METADATA or data.startswith(_NEEDED_METADATA.get(marker, b"\xff"), start + 4):
            parts.append(view[start:end])
        if scans > MOST_SCANS:
            raise ImageRefused(f"has more than {MOST_SCANS} scans: save it anew, as a baseline JPEG")
        if marker == _END or end == len(data):
            break
        place = end
    else:
        raise too_many_pieces()
    if size is None or not scans:
        raise Damaged
    return Survey(size[1], size[0], parts, exif)


def _segment(data: bytes, place: int) -> tuple[int, int, int]:
    """Returns the next segment's marker, start and end, a scan's with the coded data behind its head."""
    found = _MARKER.search(data, place)
    if found is None:
        raise Damaged
    start = found.start()
    marker = data[start + 1]
    if marker == _END:
        return marker, start, start + 2
    (length,) = struct.unpack_from(">H", data, start + 2)
    end = start + 2 + length
    if marker == _START or length < 2 or end > len(data):
        raise Damaged
    if marker == _SCAN:
        following = _MARKER.search(data, end)
        end = following.start() if following else len(data)
    return marker, start, end
