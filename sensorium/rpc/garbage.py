"""Keeps searches for garbage away from what lives as long as the process: walking through torch takes half a second."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def kept() -> Generator[None]:
    """No search for garbage runs inside, and no later one walks through what there is at the end.

    Call `gc.unfreeze` before Python ends: what is kept then is never freed, and libraries complain of it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
