"""Converts the colours of a file to 8-bit RGB."""

import numpy as np
from PIL import Image


def rgb(image: Image.Image) -> Image.Image:
    """Returns the image in RGB, without metadata.

    Transparency is dropped, that of a palette too, not blended with a background of our choosing: so does transformers'
    own `load_image`, and a model sees the pixels it was trained on. Of 16 bits the upper eight are kept, in grey as in
    colour, where Pillow would turn nearly all grey into white. Inks (CMYK) become colours without their profile.
    """
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    converted = image.convert("RGB")
    converted.info = {}
    return converted
