"""The one thread that owns a model, its letterbox, and its heartbeat."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class ModelThread:
    """Runs `run`, which must return soon after `closing` is set. Others leave letters in boxes and look after it."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self.closing = False
        self.busy_since: float | None = None
        """When the step began that is being worked on, on the clock of `time.monotonic`; None between steps."""
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    def start(self) -> None:
        """Starts it."""
        self._thread.start()

    def close(self) -> None:
        """Lets it end, and waits for that. One that was never started has nothing to end."""
        with self._wake:
            self.closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def post(self, box: deque[T], letter: T) -> None:
        """Puts a letter into a box and wakes the thread. Any thread."""
        with self._wake:
            box.append(letter)
            self._wake.notify()

    def wait(self, *boxes: deque[Any], seconds: float | None = None) -> None:
        """Returns when there is a letter in a box, when `closing` is set, or when so much time has passed."""
        with self._wake:
            self._wake.wait_for(lambda: any(boxes) or self.closing, seconds)

    def stuck(self, seconds: float) -> bool:
        """Returns whether one step has lasted longer than `seconds`, or the thread has ended by itself. Any thread."""
        since = self.busy_since
        late = since is not None and time.monotonic() - since > seconds
        return late or (self._thread.ident is not None and not self._thread.is_alive() and not self.closing)
