"""Caches expensive test objects and hands out copies."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache, wraps
from typing import TypeVar

Made = TypeVar("Made")


def made_once(make: Callable[[], Made]) -> Callable[[], Made]:
    """Wraps `make` so that it runs once. Each caller gets a deep copy, which a test may change."""
    made = cache(make)

    @wraps(make)
    def copied() -> Made:
        return deepcopy(made())

    return copied
