"""Detects the format of an image by its bytes, and compares it with the declared media type."""

from enum import Enum

from services.engine.media.media_type import UNDECLARED, contradiction, essence
from services.engine.media.refusal import ACCEPTED, ImageRefused


class ImageFormat(Enum):
    """The formats that are decoded, by their usual names."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    GIF = "GIF"


DECLARED_TYPES = {
    "image/png": ImageFormat.PNG,
    # An animated PNG is a PNG to those who know no animation.
    "image/apng": ImageFormat.PNG,
    "image/jpeg": ImageFormat.JPEG,
    # Never registered, often sent, and only ever meant one thing.
    "image/jpg": ImageFormat.JPEG,
    "image/webp": ImageFormat.WEBP,
    "image/gif": ImageFormat.GIF,
}

_OTHERS = (
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"BM", "a BMP file"),
    (b"\0\0\1\0", "an ICO file"),
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"%PDF", "a PDF file"),
    (b"<svg", "an SVG file"),
    (b"<?xml", "an XML or SVG file"),
    (b"\0\0\0\x0cjP", "a JPEG 2000 file"),
    (b"\xffO\xffQ", "a JPEG 2000 file"),
    (b"\0\0\0\x0cJXL", "a JPEG XL file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"data:", "a data URI, not the bytes in it"),
    (b"iVBORw0KGgo", "base64 text, not the bytes it stands for"),
    (b"/9j/", "base64 text, not the bytes it stands for"),
    (b"UklGR", "base64 text, not the bytes it stands for"),
    (b"R0lGOD", "base64 text, not the bytes it stands for"),
)


def format_of(data: bytes) -> ImageFormat:
    """Detects the format by the first bytes.

    Raises:
        ImageRefused: They belong to no format that is decoded.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if data.startswith((b"GIF87a", b"GIF89a")):
        return ImageFormat.GIF
    raise ImageRefused(f"is {_other(data)}; {ACCEPTED}")


def check_declared(media_type: str, found: ImageFormat) -> None:
    """Refuses a declared type that contradicts the format found. An empty one, or one that says nothing, does not.

    Raises:
        ImageRefused: it does, or it is no type of an image that is decoded.
    """
    declared = essence(media_type)
    if declared not in UNDECLARED and DECLARED_TYPES.get(declared) is not found:
        raise ImageRefused(contradiction(media_type, f"image/{found.value.lower()}"))


def _other(data: bytes) -> str:
    if not data:
        return "empty"
    if data[4:8] == b"ftyp":
        return "an AVIF, HEIF or video file"
    # A text may have blanks or a byte order mark before its first sign.
    text = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((name for start, name in _OTHERS if data.startswith(start) or text.startswith(start)), "no known image")
