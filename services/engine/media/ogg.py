"""The pages of an Ogg file (RFC 3533)."""

import zlib

from services.engine.media.refusal import AudioRefused, Damaged

_LAST = 4
_CHECKSUM = slice(22, 26)
_HEAD_BYTES = 27
_MOST_PAGES = 1_000_000
_TURNED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
"""Each byte with its bits reversed: Ogg's CRC has the opposite bit order from zlib's."""


def check_whole(data: bytes) -> None:
    """Returns if the file is one complete stream of valid pages; the decoder does not check that.

    Raises:
        Damaged: The last page is missing, a page's checksum is wrong, or there are other bytes between pages.
        AudioRefused: Something follows the last page, such as a second recording.
        IndexError: The file ends within a page header.
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
    """Returns whether a page's checksum is right: the decoder silently skips pages with a wrong one."""
    blank = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    found = zlib.crc32(blank.translate(_TURNED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return found == int.from_bytes(page[_CHECKSUM].translate(_TURNED), "big")
