"""Handwritten digits: the 1,797 images that scikit-learn brings along, a quarter of them held out."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SIDE = 32
SPLIT_SEED = 7
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SOURCE = (
    "The 1,797 handwritten digits of 8 × 8 pixels that scikit-learn brings along (a copy of the test set of the UCI "
    "data set *Optical Recognition of Handwritten Digits*, Alpaydin and Kaynak 1998, CC BY 4.0), enlarged to 32 × 32, "
    "white on black"
)


@cache
def digit_images(held_out: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `[n, 32, 32, 3]` and what they show, of the one part or the other."""
    data = load_digits()
    parts = train_test_split(
        np.arange(len(data.target)), test_size=0.25, random_state=SPLIT_SEED, stratify=data.target
    )  # fmt: skip
    chosen = parts[held_out]
    return np.stack([enlarged(data.images[i]) for i in chosen]), data.target[chosen].astype(np.int64)


def enlarged(digit: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A digit of 8 x 8 values up to 16 as an RGB image."""
    grey = Image.fromarray(np.round(digit * 255 / 16).astype(np.uint8))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB"))
