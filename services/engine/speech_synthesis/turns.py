"""Runs a blocking function step by step, in a thread that only runs while it is waited for."""

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """The result is not wanted any more. Raised inside the function where it pauses."""


class Turns(Generic[T]):
    """An iterable over the turns of a function that runs in its own thread.

    The two threads never run at the same time, so they may share a model.
    """

    def __init__(self, work: Callable[[Callable[[], None]], T]) -> None:
        """Runs `work(pause)`, which calls `pause` wherever its turn may end."""
        self._work = work
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._abandoned = False
        self._done = False
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def __iter__(self) -> Generator[T | None]:
        """Yields None after each turn except the last, then the result. Raises what `work` raises."""
        self._thread.start()
        try:
            while True:
                self._go.release()
                self._back.acquire()
                if self._done:
                    break
                yield None
            if self._error is not None:
                raise self._error
            yield self._result[0]
        finally:
            self._abandoned = True
            self._go.release()
            self._thread.join()
            self._error = None  # breaks the cycle of this object and the error's traceback, which holds tensors

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._result.append(self._work(self._pause))
        except BaseException as error:  # raised again in the thread that iterates
            self._error = error
        self._done = True
        self._back.release()

    def _pause(self) -> None:
        self._back.release()
        self._go.acquire()
        if self._abandoned:
            raise Abandoned
