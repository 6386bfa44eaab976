"""What a file tells of its image before anything is decoded."""

from dataclasses import dataclass

from services.engine.media.refusal import ImageRefused

MOST_PIECES = 32_768
"""Chunks, segments or blocks of one file that are looked at. Photographs have a few hundred; files of several hundred
thousand, each of a few bytes, take seconds to go through."""


@dataclass(frozen=True)
class Survey:
    """Size and needed parts of a file.

    Metadata is not among the parts: it holds what decoders expand, add up or warn about, and no pixel depends on it.
    """

    width: int
    height: int
    parts: list[bytes | memoryview]
    """Together a file of the same pixels."""
    exif: bytes = b""
    """The file's EXIF block as it is, or empty."""


def too_many_pieces() -> ImageRefused:
    """Returns the refusal of a file that is cut up finer than anybody needs."""
    return ImageRefused(f"consists of more than {MOST_PIECES} pieces: save it anew, without its metadata")
