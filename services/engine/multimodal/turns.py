"""Runs a long call by turns with its caller."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """Raised in a call whose result nobody waits for, to end it."""


class Turns(Generic[T]):
    """Runs a call in a thread of its own, which works only while the caller waits in `resume`.

    As the two threads never work at the same time, the call may use the objects of the caller's thread. It has to call
    `pause` often.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T | None = None
        self._error: Exception | None = None
        self._until = 0.0
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._abandoned = self._done = False
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)
        self._thread.start()

    def resume(self, seconds: float) -> bool:
        """Lets the call work for about `seconds`, and returns whether it is done."""
        self._until = time.monotonic() + seconds
        if not self._done:
            self._go.release()
            self._back.acquire()
        return self._done

    def result(self) -> T:
        """Returns the result of a call that is done, or raises its error."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def abandon(self) -> None:
        """Ends the call at its next `pause`."""
        self._abandoned = True
        self.resume(0.0)

    def pause(self) -> None:
        """Returns to the caller if the time is up. To be called by the call; does nothing in other threads."""
        if threading.current_thread() is not self._thread or time.monotonic() < self._until:
            return
        self._back.release()
        self._go.acquire()
        if self._abandoned:
            raise Abandoned

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._abandoned:
                self._result = self._call()
        except Exception as error:
            self._error = error
        self._done = True
        self._back.release()
