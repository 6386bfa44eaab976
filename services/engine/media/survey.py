"""What is known of an image file before anything is decoded."""

from dataclasses import dataclass

from services.engine.media.refusal import ImageRefused

MOST_PIECES = 32_768
"""Chunks, segments or blocks of one file that are looked at. Photographs have a few hundred; files of several hundred
thousand, each of a few bytes, take seconds to go through."""


@dataclass(frozen=True)
class Survey:
    """The size of an image, and the parts of its file that decoding needs.

    Metadata is not among the parts: it holds what decoders expand, add up or warn about, and no pixel depends on it.
    """

    width: int
    height: int
    parts: list[bytes | memoryview]
    """Joined, they are a file with the same pixels."""
    exif: bytes = b""
    """The file's EXIF block as it is, or empty."""


def too_many_pieces() -> ImageRefused:
    """Returns the error for a file with too many chunks, segments or blocks."""
    return ImageRefused(f"consists of more than {MOST_PIECES} pieces: save it anew, without its metadata")
