"""What large media took goes back to the system once it is quiet: glibc keeps for good what threads have freed."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

_QUIET_SECONDS = 5.0
"""While they come one behind the other, what one has freed serves the next, and giving it back takes 0.1 s for a GB."""


class FreedMemory:
    """Gives freed memory back some seconds after the last use that it was told of. May be used by any thread."""

    def __init__(self, give_back: Callable[[], object], quiet_seconds: float = _QUIET_SECONDS) -> None:
        self._give_back = give_back
        self._seconds = quiet_seconds
        self._lock = threading.Lock()
        self._last = 0.0
        self._waiting = False

    def used(self) -> None:
        """Takes that much memory was used, and is free or will be soon."""
        with self._lock:
            self._last = time.monotonic()
            if not self._waiting:
                self._wait(self._seconds)

    def _wait(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.daemon = True
        timer.start()
        self._waiting = True

    def _look(self) -> None:
        with self._lock:
            self._waiting = False
            left = self._last + self._seconds - time.monotonic()
            if left > 0:
                self._wait(left)
                return
        self._give_back()


def trim() -> None:
    """Gives back what the C library keeps, where that is glibc."""
    library: Any = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


FREED_MEMORY = FreedMemory(trim)
"""The process's own."""
