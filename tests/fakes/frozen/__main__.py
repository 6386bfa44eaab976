"""Replaces a service: tells how many objects no search for garbage walks through."""

import gc
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Prints the number."""
    print(gc.get_freeze_count(), *arguments)
    return 0
