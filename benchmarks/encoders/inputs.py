"""Inputs of the requests: texts of 32 tokens, and JPEG pictures of 640 x 480 pixels."""

import io
import random
from functools import cache

import numpy as np
from PIL import Image

from benchmarks.encoders.checkpoints import WORDS

TEXT_TOKENS = 32
_SIZE = (480, 640, 3)
_PICTURES = 16


def text(*key: object) -> str:
    """Returns a text of random words with 32 tokens, special ones included."""
    return " ".join(random.Random(repr(key)).choices(WORDS, k=TEXT_TOKENS - 2))


@cache
def pictures() -> list[bytes]:
    """Returns JPEG files of smooth random colours, with about the file size of photographs."""
    chance = np.random.default_rng(7)
    return [_picture(chance) for _ in range(_PICTURES)]


def _picture(chance: np.random.Generator) -> bytes:
    coarse = Image.fromarray(chance.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    fine = np.asarray(coarse.resize((_SIZE[1], _SIZE[0]), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(fine + chance.normal(0, 12, _SIZE), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return file.getvalue()
