"""Returns memory of large media to the system once no more come: glibc keeps what threads have freed for good."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

_QUIET_SECONDS = 5.0
"""Returning a GB takes 0.1 s, and while media come one after another, the next reuses what the last has freed."""


class FreedMemory:
    """Calls `give_back` some seconds after the last call of `used`. May be used by any thread."""

    def __init__(self, give_back: Callable[[], object], quiet_seconds: float = _QUIET_SECONDS) -> None:
        self._give_back = give_back
        self._seconds = quiet_seconds
        self._lock = threading.Lock()
        self._last = 0.0
        self._waiting = False

    def used(self) -> None:
        """Notes that much memory was used, which is free by now or will be soon."""
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
    """Returns freed memory to the system, where the C library is glibc."""
    library: Any = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


FREED_MEMORY = FreedMemory(trim)
"""The one of this process."""
