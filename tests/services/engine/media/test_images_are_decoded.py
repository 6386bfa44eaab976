import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import load_image

from services.engine.media.image import ImageLimits, decode_image
from tests.services.engine.media import pictures

LIMITS = ImageLimits(file_bytes=4 << 20, pixels=1_000_000, side=4096)


def pixels(data: bytes, media_type: str = "") -> np.ndarray:
    image = decode_image(data, media_type, LIMITS)
    assert image.mode == "RGB"
    return np.asarray(image)


def by_transformers(data: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        # Pillow warns of palettes with transparency, which `load_image` drops.
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(load_image(Image.open(BytesIO(data))))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (33, 57)])
@pytest.mark.parametrize("name", pictures.FORMATS)
def test_every_format_is_read_as_transformers_reads_it(name: str, size: tuple[int, int]) -> None:
    data = pictures.encoded(pictures.noise(*size), name)
    assert (pixels(data, pictures.MIME_TYPES[name]) == by_transformers(data)).all()


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_what_keeps_every_pixel_is_read_pixel_by_pixel(name: str) -> None:
    image = pictures.noise(61, 43)
    options = {"lossless": True} if name == "WEBP" else {}
    assert (pixels(pictures.encoded(image, name, **options)) == np.asarray(image)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA"])
@pytest.mark.parametrize("seed", range(3))
def test_every_colour_of_png_is_read_as_transformers_reads_it(mode: str, seed: int) -> None:
    image = pictures.noise(40, 30, seed).convert("RGBA")
    image.putalpha(pictures.noise(40, 30, seed + 10).convert("L"))
    image = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    data = pictures.encoded(image.convert("RGBA") if mode == "PA" else image, "PNG")
    assert (pixels(data) == by_transformers(data)).all()


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 2}])
def test_every_colour_of_jpeg_is_read_as_transformers_reads_it(mode: str, options: dict) -> None:
    data = pictures.encoded(pictures.noise(50, 35).convert(mode), "JPEG", **options)
    assert (pixels(data) == by_transformers(data)).all()


def test_alpha_is_dropped_and_the_colour_under_it_stays() -> None:
    image = pictures.noise(20, 10).convert("RGBA")
    image.putalpha(0)
    colours = np.asarray(image)[..., :3]
    assert (pixels(pictures.encoded(image, "PNG")) == colours).all()
    assert (pixels(pictures.encoded(image, "WEBP", lossless=True, exact=True)) == colours).all()
    grey = Image.merge("LA", (Image.new("L", (4, 4), 77), Image.new("L", (4, 4), 0)))
    assert (pixels(pictures.encoded(grey, "PNG")) == 77).all()


@pytest.mark.parametrize("transparency", [1, bytes([0, 128, 255, 7])], ids=["one entry", "every entry"])
def test_transparency_of_a_palette_is_dropped_and_its_colour_stays(transparency: int | bytes) -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image.putdata([0, 1, 2, 3])
    data = pictures.encoded(image, "PNG", transparency=transparency)
    assert b"tRNS" in data
    assert pixels(data).ravel().tolist() == list(range(10, 121, 10))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_of_few_bits_reaches_from_black_to_white(depth: int) -> None:
    data = pictures.png_of(8 // depth, 1, depth, 0, [bytes([0b00011011])])
    steps = [0b00011011 >> (8 - depth * (i + 1)) & (2**depth - 1) for i in range(8 // depth)]
    assert pixels(data)[0, :, 0].tolist() == [step * 255 // (2**depth - 1) for step in steps]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_of_sixteen_bits_the_upper_eight_are_kept(channels: int) -> None:
    values = np.random.default_rng(channels).integers(0, 65536, (9, 7, channels), dtype=np.uint16)
    values[0, 0], values[0, 1], values[0, 2] = 0, 0x00FF, 0xFFFF
    colours = np.repeat(values[..., :1], 3, axis=-1) if channels < 3 else values[..., :3]
    assert (pixels(pictures.png_16_bit(values)) == colours >> 8).all()


@pytest.mark.parametrize("adobe", [True, False])
@pytest.mark.parametrize(
    ("ink", "colour"),
    [((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_inks_become_the_colours_they_print(ink: tuple, colour: tuple, adobe: bool) -> None:
    assert np.abs(pixels(pictures.cmyk_jpeg(ink, adobe=adobe)).astype(int) - colour).max() <= 2


def test_a_jpeg_of_brightness_and_colour_is_read_as_such_whatever_its_components_are_called() -> None:
    data = bytearray(pictures.encoded(pictures.landscape(40, 24), "JPEG", subsampling=0))
    frame, scan = data.index(b"\xff\xc0") + 10, data.index(b"\xff\xda") + 5
    for i, letter in enumerate(b"RGB"):
        data[frame + 3 * i] = data[scan + 2 * i] = letter
    assert (pixels(bytes(data)) == by_transformers(bytes(data))).all()
    assert np.abs(pixels(bytes(data)).astype(int) - np.asarray(pictures.landscape(40, 24))).mean() < 5


def test_inks_in_the_manner_of_brightness_and_colour_are_read_as_transformers_reads_them() -> None:
    data = bytearray(pictures.encoded(pictures.landscape(40, 24).convert("CMYK"), "JPEG"))
    data[data.index(b"Adobe") + 11] = 2
    found = pixels(bytes(data))
    assert (found == by_transformers(bytes(data))).all()
    data[data.index(b"Adobe") + 11] = 0
    assert (found != by_transformers(bytes(data))).any(), "the marker tells"


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_set_upright(orientation: int, name: str, order: str) -> None:
    data = pictures.with_exif(pictures.landscape(40, 24), name, pictures.exif_of(orientation, order))
    found = pixels(data)
    assert (found == by_transformers(data)).all()
    assert found.shape == ((24, 40, 3) if orientation < 5 else (40, 24, 3))
    # Upright, the landscape's darkest red and green are where the file's first pixel was.
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    assert found[corner[orientation]][:2].max() <= 12


@pytest.mark.parametrize("kind", [1, 4])
def test_an_orientation_of_an_unusual_type_is_read(kind: int) -> None:
    data = pictures.with_exif(pictures.landscape(40, 24), "JPEG", pictures.exif_of(6, kind=kind))
    assert pixels(data).shape == (40, 24, 3)


def test_an_orientation_behind_the_pixels_is_read() -> None:
    late = pictures.chunk(b"eXIf", pictures.exif_of(6))
    assert pixels(pictures.png_of(2, 1, 8, 0, [b"\1\2"], after=late)).shape == (2, 1, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"nothing of this kind",
        pictures.exif_of(9),
        pictures.exif_of(0),
        pictures.exif_of(6)[:14],
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 40,
        pictures.exif_of(6).replace(b"\3\0\1\0\0\0", b"\2\0\1\0\0\0"),
    ],
)
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_broken_exif_is_ignored(name: str, exif: bytes) -> None:
    image = pictures.landscape(40, 24)
    assert (pixels(pictures.with_exif(image, name, exif)) == pixels(pictures.encoded(image, name))).all()


def test_random_exif_is_ignored_without_a_warning() -> None:
    generator = np.random.default_rng(1)
    whole = pictures.exif_of(6) + bytes(40)
    jpeg = pictures.encoded(pictures.landscape(40, 24), "JPEG")
    # Without JFIF's density Pillow would look for one in the block.
    plain = jpeg[:2] + jpeg[20:]
    for _ in range(200):
        exif = bytearray(whole)
        for place in generator.integers(4, len(exif), 4):
            exif[place] = generator.integers(256)
        data = pictures.with_segments(plain, pictures.jpeg_segment(0xE1, b"Exif\0\0" + bytes(exif)))
        assert sorted(pixels(data).shape) == [3, 24, 40]


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_is_taken(name: str) -> None:
    data = pictures.animated(name, [(200, 30, 30), (30, 200, 30), (30, 30, 200)])
    assert (pixels(data) == (200, 30, 30)).all()


@pytest.mark.parametrize("place", [(0, 0), (5, 3), (40, 0)])
@pytest.mark.parametrize("screen", [(20, 16), (12, 9), (0, 0)])
@pytest.mark.parametrize("options", [{}, {"transparency": 9}, {"interlace": False, "comment": b"drawn"}])
def test_a_frame_anywhere_on_its_gif_is_read_as_transformers_reads_it(
    options: dict, screen: tuple[int, int], place: tuple[int, int]
) -> None:
    data = pictures.gif_with_frame_at(pictures.encoded(pictures.noise(12, 9), "GIF", **options), screen, place)
    found = pixels(data)
    assert found.shape == (max(screen[1], place[1] + 9), max(screen[0], place[0] + 12), 3)
    assert (found == by_transformers(data)).all()


def test_what_is_appended_to_an_image_is_left_out() -> None:
    for name in pictures.FORMATS:
        data = pictures.encoded(pictures.landscape(40, 24), name)
        assert (pixels(data + data + b"\0\0\0 ftypmp42") == pixels(data)).all()


def test_a_jpeg_is_read_however_its_segments_are_padded() -> None:
    data = pictures.encoded(pictures.noise(64, 48), "JPEG", progressive=True, restart_marker_blocks=1)
    assert b"\xff\xd0" in data
    assert (pixels(data[:2] + b"\xff\xff" + data[2:]) == by_transformers(data)).all()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_metadata_is_passed_over(kind: bytes) -> None:
    assert pixels(pictures.png_with_metadata_bomb(kind, 8 << 20)).ravel().tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", pictures.FORMATS)
def test_nothing_of_the_file_is_kept(name: str) -> None:
    data = pictures.encoded(pictures.noise(30, 20), name)
    before = sys.getrefcount(data)
    image = decode_image(data, "", LIMITS)
    assert sys.getrefcount(data) == before
    assert type(image) is Image.Image
    assert image.info == {}


def test_threads_do_not_disturb_each_other() -> None:
    files = [
        pictures.encoded(pictures.noise(90 + seed, 70, seed), name) for name in pictures.FORMATS for seed in range(10)
    ]
    files += [b"\x89PNG\r\n\x1a\nnothing", pictures.encoded(pictures.noise(90, 70), "GIF")[:900]]
    alone = [outcome(data) for data in files]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outcome, files * 5)) == alone * 5


def outcome(data: bytes) -> bytes:
    try:
        return pixels(data).tobytes()
    except Exception as error:
        return str(error).encode()
