"""From the bytes of an image to its pixels, within limits."""

import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from services.engine.media import gif, jpeg, png, webp
from services.engine.media.colour import rgb
from services.engine.media.image_format import ImageFormat, check_declared, format_of
from services.engine.media.orientation import orientation, upright
from services.engine.media.refusal import Damaged, ImageRefused
from services.engine.media.survey import Survey
from services.engine.threads.turns import restless, take_much

_SURVEYS = {
    ImageFormat.PNG: png.survey,
    ImageFormat.JPEG: jpeg.survey,
    ImageFormat.WEBP: webp.survey,
    ImageFormat.GIF: gif.survey,
}
# Named one by one: `Image.open` would ask others too, and warns by a limit on pixels that is the whole process's.
_DECODERS = {
    ImageFormat.PNG: PngImageFile,
    ImageFormat.JPEG: JpegImageFile,
    ImageFormat.WEBP: WebPImageFile,
    ImageFormat.GIF: GifImageFile,
}


_LARGE = 1 << 24
"""Pixels of an image that takes half a second or so, more than most cameras make.

Such are decoded one at a time, as there are two turns and a decoder does not rest: two of 64 million pixels, 3 s each
as PNG, would keep whoever sends a small image waiting. It also bounds what decoders hold. Who sends large ones alone
loses the second turn for it, at 6 images a second of 36 million pixels as JPEG, and 1 as PNG (two slow cores).
"""


_MUCH = 1 << 22
"""Pixels that come to tens of megabytes on their way to the model."""


@dataclass(frozen=True)
class ImageLimits:
    """Limits of one image: bytes of its file, number of pixels, and its longer side in pixels.

    Above 178 million pixels Pillow's own decoder refuses WebP, whatever is allowed here.
    """

    file_bytes: int
    pixels: int
    side: int = 32_767
    """Limits images that are one row of very many pixels, whatever their area."""


def decode_image(data: bytes, media_type: str, limits: ImageLimits) -> Image.Image:
    """Returns the image in RGB, upright by its EXIF orientation, the first frame if it moves.

    Nothing of `data` is kept. The limits hold before memory is taken for pixels. May be called from several threads.

    Args:
        data: the whole file: PNG, JPEG, WebP or GIF, by its bytes.
        media_type: what it was declared as; empty if nothing was.
        limits: what is accepted.

    Raises:
        ImageRefused: it is too large, of another format than accepted or declared, cut off or damaged.
    """
    if len(data) > limits.file_bytes:
        raise ImageRefused(f"has {len(data)} bytes; at most {limits.file_bytes} are accepted: send it smaller")
    found = format_of(data)
    check_declared(media_type, found)
    try:
        survey = _SURVEYS[found](data)
    except (Damaged, IndexError, struct.error):
        raise _damaged(found) from None
    _check_size(survey, limits)
    if survey.width * survey.height > _MUCH:
        take_much()
    with restless(long=survey.width * survey.height > _LARGE):
        try:
            image, exif = _decoded(found, survey)
        except MemoryError:
            raise
        except Exception:  # Whatever a decoder makes of bytes that are not what they should be.
            raise _damaged(found) from None
    return upright(image, orientation(exif))


def _check_size(survey: Survey, limits: ImageLimits) -> None:
    width, height = survey.width, survey.height
    if not width or not height:
        raise ImageRefused(f"is {width} × {height} pixels: send one that has any")
    if width * height > limits.pixels:
        count = width * height
        raise ImageRefused(
            f"is {width} × {height} = {count} pixels; at most {limits.pixels} are accepted: send it smaller"
        )
    if max(width, height) > limits.side:
        raise ImageRefused(f"is {width} × {height} pixels; at most {limits.side} a side are accepted: send it smaller")


def _decoded(found: ImageFormat, survey: Survey) -> tuple[Image.Image, bytes]:
    """Returns the image as it lies in the file, and its EXIF block."""
    with _DECODERS[found](BytesIO(b"".join(survey.parts))) as file:
        # The limits were held to what the survey found, which has to be what the decoder goes by.
        if file.size != (survey.width, survey.height):
            raise Damaged
        file.load()
        return rgb(file), survey.exif or file.info.get("exif", b"")


def _damaged(found: ImageFormat) -> ImageRefused:
    return ImageRefused(
        f"is cut off or damaged, or of a rare kind of {found.value}: send the whole file, or save it anew"
    )
