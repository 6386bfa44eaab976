from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from services.engine.media.output_image import check_output_size, check_output_type, encode_image
from services.engine.media.refusal import ImageRefused
from tests.services.engine.media import pictures


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (64, 48)])
@pytest.mark.parametrize(("media_type", "name"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")])
def test_an_image_is_a_file_of_its_type(media_type: str, name: str, size: tuple[int, int]) -> None:
    pixels = np.asarray(pictures.landscape(*size))
    image = Image.open(BytesIO(encode_image(pixels, media_type)))
    assert (image.format, image.mode, image.size) == (name, "RGB", size)
    error = np.abs(np.asarray(image).astype(int) - pixels)
    assert error.max() <= (0 if name == "PNG" else 24)
    assert error.mean() <= 3


def test_png_is_what_is_written_if_nothing_is_said_and_keeps_every_pixel() -> None:
    pixels = np.asarray(pictures.noise(37, 21))
    for given in (pixels, pixels[::-1, ::2], pixels.transpose(1, 0, 2)):
        image = Image.open(BytesIO(encode_image(given)))
        assert image.format == "PNG"
        assert (np.asarray(image) == given).all()


def test_jpeg_keeps_colours_as_fine_as_brightness() -> None:
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[:, ::2, 0] = 200
    image = Image.open(BytesIO(encode_image(stripes, "image/jpeg")))
    assert np.abs(np.asarray(image).astype(int) - stripes).max() < 40


def test_a_type_is_read_without_case_and_parameters() -> None:
    assert check_output_type(" Image/WebP; q=1") == "image/webp"


@pytest.mark.parametrize("media_type", ["", "image/gif", "image/jpg", "png", "text/html"])
def test_another_type_is_refused(media_type: str) -> None:
    for refuse in (
        lambda: check_output_type(media_type),
        lambda: check_output_size(media_type, 1, 1),
        lambda: encode_image(np.zeros((1, 1, 3), dtype=np.uint8), media_type),
    ):
        with pytest.raises(ImageRefused, match=r"^must be image/png, image/jpeg or image/webp$"):
            refuse()


@pytest.mark.parametrize(("media_type", "longest"), [("image/jpeg", 65_500), ("image/webp", 16_383)])
def test_a_size_is_refused_just_where_the_encoder_would(media_type: str, longest: int) -> None:
    encode_image(np.zeros((1, longest, 3), dtype=np.uint8), media_type)
    with pytest.raises(ImageRefused, match=f"at most {longest} pixels a side, and the new image is {longest + 1} × 1"):
        check_output_size(media_type, longest + 1, 1)
    with pytest.raises(ImageRefused):
        encode_image(np.zeros((longest + 1, 1, 3), dtype=np.uint8), media_type)
    # What is refused here could not have been written.
    name = {"image/jpeg": "JPEG", "image/webp": "WEBP"}[media_type]
    with pytest.raises((OSError, ValueError)):
        pictures.encoded(Image.new("RGB", (longest + 1, 1)), name)


def test_a_png_may_be_longer_than_any_other() -> None:
    check_output_size("image/png", 70_000, 1)
