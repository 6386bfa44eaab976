"""The chunks of a WAV file."""

import struct

from services.engine.media.refusal import Damaged
from services.engine.media.survey import MOST_PIECES

_STREAMED = 0x7FFF_0000
"""Lengths from here on stand for one that was not known: programs that write into a pipe leave such in the head."""


def check_whole(data: bytes) -> None:
    """Returns if all the samples that the file speaks of are there: the decoder takes what it finds.

    Raises:
        Damaged: they are not.
        struct.error: the file ends before them.
    """
    place = 12
    for _ in range(MOST_PIECES):
        kind, length = struct.unpack_from("<4sI", data, place)
        place += 8 + length
        if kind == b"data":
            if length < _STREAMED and place > len(data):
                raise Damaged
            return
        place += length % 2
    raise Damaged
