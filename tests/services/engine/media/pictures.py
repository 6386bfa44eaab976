"""Images as callers send them, awkward ones and hostile ones among them, each as the bytes of a file."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MIME_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
OTHER_FORMATS = ("TIFF", "BMP", "ICO", "PPM", "TGA", "PDF", "EPS")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Returns an RGB image of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def landscape(width: int, height: int) -> Image.Image:
    """Returns an RGB image that is alike nowhere and smooth everywhere: what JPEG keeps nearly as it is."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    """Returns the file of an image, by Pillow's name of its format."""
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def one_pixel(name: str) -> bytes:
    return encoded(Image.new("RGB", (1, 1), (250, 10, 10)), name)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns one chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(
    width: int, height: int, depth: int, colour: int, rows: Sequence[bytes], *, before: bytes = b"", after: bytes = b""
) -> bytes:
    """Returns a PNG of raw rows: for depths and colours Pillow does not write, and with any chunks around the data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + before + data + after + chunk(b"IEND", b"")


def png_16_bit(values: np.ndarray) -> bytes:
    """Returns a PNG of 16 bits per channel of uint16 `[height, width, channels]`: 1 to 4 as grey to RGBA."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png_of(width, height, 16, colour, [row.astype(">u2").tobytes() for row in values])


def exif_of(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """Returns an EXIF block, without the prefix JPEG gives it, that holds an orientation and nothing else."""
    number = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHI{number}I", 8, 1, 0x0112, kind, 1, orientation, 0)


def with_exif(image: Image.Image, name: str, exif: bytes, **options: Any) -> bytes:
    """Returns a PNG, JPEG or WebP file with an EXIF block."""
    prefix = b"Exif\0\0" if name == "JPEG" else b""
    return encoded(image, name, exif=prefix + exif, **options)


def jpeg_segment(marker: int, data: bytes) -> bytes:
    """Returns one segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Returns a JPEG with segments put at its beginning."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def cmyk_jpeg(ink: tuple[int, int, int, int], *, adobe: bool = True) -> bytes:
    """Returns a JPEG of one ink; with Adobe's marker, as Photoshop writes them, inverted, or without it."""
    file = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    place = file.index(b"\xff\xee")
    assert file[place + 4 : place + 9] == b"Adobe"
    return file if adobe else file[:place] + file[place + 16 :]


def animated(name: str, colours: Sequence[tuple[int, int, int]], size: tuple[int, int] = (8, 6)) -> bytes:
    """Returns a GIF, WebP or PNG that shows these colours one after another."""
    first, *others = (Image.new("RGB", size, colour) for colour in colours)
    lossless = {"lossless": True} if name == "WEBP" else {}
    return encoded(first, name, save_all=True, append_images=others, duration=50, **lossless)


def claiming(name: str, width: int, height: int) -> bytes:
    """Returns a small file whose head says that it is this large."""
    if name == "PNG":
        return png_of(width, height, 8, 2, [b"\0" * 3])
    file = bytearray(encoded(landscape(8, 8), name))
    if name == "JPEG":
        place = file.index(b"\xff\xc0") + 5
        file[place : place + 4] = struct.pack(">HH", height, width)
    elif name == "GIF":
        file[6:10] = struct.pack("<HH", width, height)
    else:
        canvas = b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little")
        file[12:12] = canvas + (height - 1).to_bytes(3, "little")
        file[4:8] = struct.pack("<I", len(file) - 8)
    return bytes(file)


def gif_with_frame_at(gif: bytes, screen: tuple[int, int], place: tuple[int, int]) -> bytes:
    """Returns a GIF of one frame with a screen of this size, and the frame at this place."""
    file = bytearray(gif)
    file[6:10] = struct.pack("<HH", *screen)
    start = _gif_head_bytes(file)
    while file[start] == 0x21:
        start = file.index(b"\0", start + 3 + file[start + 2]) + 1
    file[start + 1 : start + 5] = struct.pack("<HH", *place)
    return bytes(file)


def gif_with_claiming_frame(width: int, height: int) -> bytes:
    """Returns a GIF with a small screen, and a frame that reaches far beyond it and is to be cleared."""
    file = bytearray(encoded(landscape(8, 8), "GIF"))
    place = file.index(b",", _gif_head_bytes(file))
    file[place + 5 : place + 9] = struct.pack("<HH", width, height)
    file[place:place] = b"\x21\xf9\x04" + bytes([2 << 2, 0, 0, 0]) + b"\0"
    return bytes(file)


def bomb(side: int) -> bytes:
    """Returns a sound PNG of `side` × `side` grey pixels that is about a thousandth of that."""
    packer = zlib.compressobj(1)
    row = b"\0" * (side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_with_metadata_bomb(kind: bytes, expanded: int) -> bytes:
    """Returns a one-pixel PNG whose `zTXt`, `iTXt` or `iCCP` chunk expands to so many bytes."""
    head = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"profile\0\0"}[kind]
    packer = zlib.compressobj(9)
    zeros = b"\0" * (1 << 20)
    data = b"".join(packer.compress(zeros) for _ in range(expanded >> 20)) + packer.flush()
    return png_of(1, 1, 8, 2, [b"\1\2\3"], before=chunk(kind, head + data))


def gif_with_comments(count: int) -> bytes:
    """Returns a GIF with so many comments before its frame."""
    file = encoded(landscape(8, 8), "GIF")
    place = _gif_head_bytes(file)
    return file[:place] + b"\x21\xfe\x01c\0" * count + file[place:]


def _gif_head_bytes(file: bytes | bytearray) -> int:
    return 13 + (3 << ((file[10] & 7) + 1))


def jpeg_with_scans(width: int, height: int, count: int) -> bytes:
    """Returns a progressive JPEG with so many scans beside its own, each of which changes nothing."""
    file = encoded(landscape(width, height), "JPEG", progressive=True)
    scan = jpeg_segment(0xDA, bytes([1, 1, 0, 63, 63, 0]))
    return file[:-2] + scan * count + file[-2:]
