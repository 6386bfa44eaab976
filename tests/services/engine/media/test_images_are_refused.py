import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from services.engine.media import image, png
from services.engine.media.image import ImageLimits, decode_image
from services.engine.media.image_format import ImageFormat
from services.engine.media.refusal import ImageRefused
from tests.services.engine.media import pictures

LIMITS = ImageLimits(file_bytes=1 << 20, pixels=1_000_000, side=4096)
SMALL = {
    **{name: pictures.encoded(pictures.landscape(24, 18), name) for name in pictures.FORMATS},
    "progressive JPEG": pictures.encoded(pictures.landscape(24, 18), "JPEG", progressive=True),
    "lossless WebP": pictures.encoded(pictures.landscape(24, 18), "WEBP", lossless=True),
    "animated GIF": pictures.animated("GIF", [(200, 30, 30), (30, 200, 30)]),
    "animated WebP": pictures.animated("WEBP", [(200, 30, 30), (30, 200, 30)]),
    "animated PNG": pictures.animated("PNG", [(200, 30, 30), (30, 200, 30)]),
    "PNG of a palette": pictures.encoded(pictures.landscape(24, 18).convert("P"), "PNG"),
}


def refusal(data: bytes, media_type: str = "", limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(ImageRefused) as caught:
        decode_image(data, media_type, limits)
    assert caught.value.__cause__ is None
    assert len(str(caught.value)) < 200
    return str(caught.value)


def pixels_or_refusal(data: bytes) -> np.ndarray | None:
    try:
        return np.asarray(decode_image(data, "", LIMITS))
    except ImageRefused:
        return None


@pytest.mark.parametrize("name", pictures.OTHER_FORMATS)
def test_another_format_is_told_which_are_accepted(name: str) -> None:
    words = refusal(pictures.encoded(pictures.noise(32, 32), name))
    assert words.endswith("; accepted are PNG, JPEG, WebP and GIF")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty"),
        (b"GIF88a", "no known image"),
        (b'\xef\xbb\xbf\n <svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG file"),
        (b"II*\0" + bytes(20), "a TIFF file"),
        (b"BM" + bytes(60), "a BMP file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"\0\0\0\x20ftypavif" + bytes(20), "an AVIF, HEIF or video file"),
        (b"data:image/png;base64,iVBORw0KGgo=", "a data URI, not the bytes in it"),
        (b"iVBORw0KGgoAAAANSUhEUg==", "base64 text, not the bytes it stands for"),
    ],
)
def test_what_was_sent_is_named(data: bytes, found: str) -> None:
    assert refusal(data) == f"is {found}; accepted are PNG, JPEG, WebP and GIF"


@pytest.mark.parametrize("name", pictures.FORMATS)
@pytest.mark.parametrize("declared", pictures.MIME_TYPES.values())
def test_a_declared_type_must_be_that_of_the_bytes(name: str, declared: str) -> None:
    data, found = pictures.one_pixel(name), pictures.MIME_TYPES[name]
    if declared == found:
        decode_image(data, declared, LIMITS)
    else:
        words = f"is declared as '{declared}', but its bytes are {found}: declare that, or leave mime_type empty"
        assert refusal(data, declared) == words


@pytest.mark.parametrize("declared", ["", "IMAGE/JPEG", " image/jpeg ; q=0.9", "image/jpg", "application/octet-stream"])
def test_a_type_is_read_without_case_and_parameters(declared: str) -> None:
    decode_image(pictures.one_pixel("JPEG"), declared, LIMITS)


@pytest.mark.parametrize("declared", ["jpeg", "image/*", "image/tiff", "audio/wav", "image/jpeg2", ";", "x" * 100_000])
def test_a_type_that_is_none_of_these_is_refused(declared: str) -> None:
    if declared == ";":
        decode_image(pictures.one_pixel("JPEG"), declared, LIMITS)
        return
    assert "but its bytes are image/jpeg" in refusal(pictures.one_pixel("JPEG"), declared)


def test_limits_are_what_is_accepted_and_nothing_above() -> None:
    data = pictures.encoded(pictures.noise(30, 20), "PNG")
    exact = ImageLimits(len(data), 600, 30)
    assert decode_image(data, "", exact).size == (30, 20)
    few = f"has {len(data)} bytes; at most {len(data) - 1} are accepted: send it smaller"
    assert refusal(data, "", ImageLimits(len(data) - 1, 600, 30)) == few
    small = "is 30 × 20 = 600 pixels; at most 599 are accepted: send it smaller"
    assert refusal(data, "", ImageLimits(len(data), 599, 30)) == small
    short = "is 30 × 20 pixels; at most 29 a side are accepted: send it smaller"
    assert refusal(data, "", ImageLimits(len(data), 600, 29)) == short


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_the_size_a_file_claims_is_checked_first(name: str) -> None:
    words = "is 16000 × 16000 = 256000000 pixels; at most 1000000 are accepted: send it smaller"
    assert refusal(pictures.claiming(name, 16000, 16000)) == words


def test_a_frame_beyond_the_screen_of_a_gif_counts() -> None:
    assert refusal(pictures.gif_with_claiming_frame(60000, 60000)).startswith("is 60000 × 60000 = ")


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_an_image_without_pixels_is_refused(name: str) -> None:
    assert refusal(pictures.claiming(name, 0, 9)) == "is 0 × 9 pixels: send one that has any"


def test_files_cut_up_too_finely_are_refused() -> None:
    pixel = pictures.one_pixel("PNG")
    chunks = pixel[:33] + pictures.chunk(b"tEXt", b"a\0b") * 40_000 + pixel[33:]
    exif = pictures.jpeg_segment(0xE1, b"Exif\0\0x")
    segments = pictures.with_segments(pictures.one_pixel("JPEG"), *[exif] * 40_000)
    for data in (chunks, segments, pictures.gif_with_comments(40_000)):
        assert refusal(data).startswith("consists of more than 32768 pieces")


def test_a_jpeg_with_scans_without_end_is_refused() -> None:
    decode_image(pictures.jpeg_with_scans(64, 64, 20), "", LIMITS)
    assert refusal(pictures.jpeg_with_scans(64, 64, 100)).startswith("has more than 64 scans")


def test_nothing_before_or_beside_the_head_changes_the_size() -> None:
    head = pictures.chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    assert "damaged" in refusal(pictures.png_of(1, 1, 8, 0, [b"\0"], before=head))
    png_of_a_phone = SMALL["PNG"][:8] + pictures.chunk(b"CgBI", b"\x50\0\x20\2") + SMALL["PNG"][8:]
    assert "damaged" in refusal(png_of_a_phone)
    jpeg = pictures.one_pixel("JPEG")
    frame = pictures.jpeg_segment(0xC0, struct.pack(">BHHBBBB", 8, 9000, 9000, 1, 1, 0x11, 0))
    assert "damaged" in refusal(pictures.with_segments(jpeg, frame))


def test_a_decoder_that_finds_another_size_is_asked_for_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(png.survey(SMALL["PNG"]), width=23)
    monkeypatch.setitem(image._SURVEYS, ImageFormat.PNG, lambda data: found)
    assert "damaged" in refusal(SMALL["PNG"])


def cuts(data: bytes) -> Iterator[bytes]:
    for length in range(len(data)):
        yield data[:length]


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL)
def test_a_file_cut_off_is_refused_unless_no_pixel_is_lost(data: bytes) -> None:
    whole = np.asarray(decode_image(data, "", LIMITS))
    refused = 0
    for cut in cuts(data):
        found = pixels_or_refusal(cut)
        refused += found is None
        assert found is None or (found == whole).all(), len(cut)
    assert refused > len(data) // 4
    assert "send the whole file" in refusal(data[: len(data) // 3])


@pytest.mark.parametrize("name", ["PNG", "PNG of a palette", "animated PNG"])
def test_a_png_with_any_byte_changed_is_refused_or_unharmed(name: str) -> None:
    data = SMALL[name]
    whole = np.asarray(decode_image(data, "", LIMITS))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        found = pixels_or_refusal(bytes(changed))
        assert found is None or (found == whole).all(), place


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL)
def test_whatever_the_bytes_are_nothing_but_a_refusal_comes_of_it(data: bytes) -> None:
    generator = np.random.default_rng(len(data))
    for _ in range(400):
        changed = bytearray(data)
        for place in generator.integers(0, len(data), generator.integers(1, 5)):
            changed[place] = generator.integers(256)
        pixels_or_refusal(bytes(changed))
    for start in (4, 12, 30):
        for _ in range(50):
            pixels_or_refusal(data[:start] + generator.bytes(200))


def test_a_png_of_sound_chunks_and_unsound_data_is_refused() -> None:
    for body in (b"", b"nothing packed", zlib.compress(b"\0"), zlib.compress(b"\x09" + bytes(24) * 8)):
        head = pictures.png_of(8, 8, 8, 2, [])[:33]
        assert "damaged" in refusal(head + pictures.chunk(b"IDAT", body) + pictures.chunk(b"IEND", b""))
