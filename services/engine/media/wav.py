"""The chunks of a WAV file."""

import struct

from services.engine.media.refusal import Damaged
from services.engine.media.survey import MOST_PIECES

_STREAMED = 0x7FFF_0000
"""Lengths from here on mean an unknown length: programs that write into a pipe leave such values in the header."""


def check_whole(data: bytes) -> None:
    """Returns if the file has all the samples that its header states; the decoder does not check that.

    Raises:
        Damaged: Samples are missing.
        struct.error: The file ends before the samples.
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
