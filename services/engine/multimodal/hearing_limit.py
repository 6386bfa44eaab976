"""How much of a recording a processor hears before it cuts it off."""

import inspect
import math
from collections.abc import Callable
from typing import Any


def heard_samples(hearing: Any, most_seconds: float | None, tokens: Callable[[int], int]) -> float:
    """Returns the number of samples after which recordings are cut off; infinite if they never are.

    Args:
        hearing: The feature extractor.
        most_seconds: The limit that the processor has itself; None: it has none.
        tokens: Returns how many tokens the processor writes for so many samples.
    """
    window = getattr(hearing, "n_samples", None)
    if window is None:
        window = _cut_unasked(hearing)
    elif most_seconds is not None:  # as whole windows
        return window * (most_seconds // hearing.chunk_length)
    if window is None or tokens(window) < tokens(window + hearing.sampling_rate):
        return math.inf
    return window


def _cut_unasked(hearing: Any) -> int | None:
    """Returns the samples to which an extractor cuts recordings unless told otherwise; None: it leaves them whole.

    Gemma 4's has this limit among the arguments of its call only.
    """
    asked = inspect.signature(type(hearing).__call__).parameters
    most, cuts = (asked[name].default if name in asked else None for name in ("max_length", "truncation"))
    return most if isinstance(most, int) and cuts is True else None
