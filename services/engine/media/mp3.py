"""The frames of an MP3 file (ISO/IEC 11172-3 and 13818-3, layer III)."""

import struct
from dataclasses import dataclass

from services.engine.media.refusal import Damaged

_KILOBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""Of MPEG 1, and of MPEG 2 and 2.5."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Samples per second by the version's bits."""
_LAYER_3 = 1
_MONO = 3
_HAS_COUNT = 1
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"\0\0\0")
"""Beginnings of what may follow the last frame: tags, lyrics or zeros."""


@dataclass(frozen=True)
class _Frame:
    length: int
    """In bytes."""
    count_at: int
    """Offset of the frame count, if this is a Xing/Info frame instead of sound."""


def counted(data: bytes) -> bytes:
    """Returns the file with a first frame that states the number of frames.

    Without one, the decoder estimates the length from the first frame's bit rate and drops what lies beyond it.

    Raises:
        Damaged: The frames are not contiguous, the last one is cut off, or there are fewer than stated.
        struct.error: The file ends within its header.
    """
    first = place = _behind_tags(data)
    told, count = None, 0
    while place + 4 <= len(data):
        (head,) = struct.unpack_from(">I", data, place)
        frame = _frame(head)
        if frame is None:
            break
        if place == first:
            told = _told_count(data[place : place + frame.length], frame.count_at)
        place, count = place + frame.length, count + 1
    # Of bit rates that no table holds nothing is known here.
    if not count:
        return data
    if place > len(data) or (place < len(data) and not data.startswith(_TRAILERS, place)):
        raise Damaged
    if told is None:
        return _counting_frame(data[first : first + 4], count) + data[first:place]
    if count - 1 < told:
        raise Damaged
    return data[first:place]


def _behind_tags(data: bytes) -> int:
    """Returns the offset of the first frame, after ID3 tags, whose lengths have seven bits per byte."""
    place = 0
    while data.startswith(b"ID3", place):
        flags, *sizes = struct.unpack_from(">5B", data, place + 5)
        length = 0
        for size in sizes:
            length = length << 7 | size & 0x7F
        place += 10 + length + (10 if flags & 0x10 else 0)
    return place


def _frame(head: int) -> _Frame | None:
    version, layer = head >> 19 & 3, head >> 17 & 3
    bits, rate, padding, mode = head >> 12 & 15, head >> 10 & 3, head >> 9 & 1, head >> 6 & 3
    if head >> 21 != 0x7FF or version == 1 or layer != _LAYER_3 or bits in (0, 15) or rate == 3:
        return None
    first = version == 3
    kilobits = _KILOBITS[not first][bits]
    length = (144 if first else 72) * kilobits * 1000 // _RATES[version][rate] + padding
    beside = (17 if first else 9) if mode == _MONO else (32 if first else 17)
    return _Frame(length, 4 + beside)


def _told_count(frame: bytes, place: int) -> int | None:
    if frame[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags, count = struct.unpack_from(">II", frame, place + 4)
    return count if flags & _HAS_COUNT else None


def _counting_frame(head: bytes, count: int) -> bytes:
    """Returns a frame with a count, like the frame that begins with `head` but at a bit rate with room for it."""
    (value,) = struct.unpack(">I", head)
    # Without a checksum, at 64 kbit/s: 104 bytes or more in each version.
    value = value & ~(15 << 12) | (5 if value >> 19 & 3 == 3 else 8) << 12 | 1 << 16
    frame = _frame(value)
    assert frame is not None
    told = struct.pack(">I", value) + bytes(frame.count_at - 4) + b"Xing" + struct.pack(">II", _HAS_COUNT, count)
    return told + bytes(frame.length - len(told))
