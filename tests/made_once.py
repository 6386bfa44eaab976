"""What takes long to make is made once, and copied for each who asks."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache, wraps
from typing import TypeVar

Made = TypeVar("Made")


def made_once(make: Callable[[], Made]) -> Callable[[], Made]:
    """Has `make` called once. Each caller gets a copy, so that a test may change its own."""
    made = cache(make)

    @wraps(make)
    def copied() -> Made:
        return deepcopy(made())

    return copied
