"""The pages of an Ogg file (RFC 3533)."""

import zlib

from services.engine.media.refusal import AudioRefused, Damaged

_LAST = 4
_CHECKSUM = slice(22, 26)
_HEAD_BYTES = 27
_MOST_PAGES = 1_000_000
_TURNED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
"""Each byte with its bits the other way round: so Ogg reads them, and zlib does not."""


def check_whole(data: bytes) -> None:
    """Returns if the file is one stream from its first to its last page: the decoder takes what it finds.

    Raises:
        Damaged: it ends before its last page, a page is not what was written, or something else lies between them.
        AudioRefused: something follows its last page, such as a second recording.
        IndexError: it ends within a page's head.
    """
    place = 0
    for _ in range(_MOST_PAGES):
        if data[place : place + 4] != b"OggS":
            raise Damaged
        flags, segments = data[place + 5], data[place + 26]
        sizes = data[place + _HEAD_BYTES : place + _HEAD_BYTES + segments]
        if len(sizes) < segments:
            raise Damaged
        start, place = place, place + _HEAD_BYTES + segments + sum(sizes)
        if place > len(data) or not _is_sound(data[start:place]):
            raise Damaged
        if flags & _LAST:
            break
    if data[place : place + 4] == b"OggS":
        raise AudioRefused("holds several streams one after another: send each by itself")


def _is_sound(page: bytes) -> bool:
    """Returns whether the checksum of a page is right: the decoder leaves out a page where it is not."""
    blank = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    found = zlib.crc32(blank.translate(_TURNED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return found == int.from_bytes(page[_CHECKSUM].translate(_TURNED), "big")
