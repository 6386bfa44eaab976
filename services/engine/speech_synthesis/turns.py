"""A function of the library's that returns only when all is done, taken step by step."""

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

T = TypeVar("T")


class Left(Exception):
    """Nobody wants the result any more. Raised where the function asks for its next turn."""


class Turns(Generic[T]):
    """Runs a function in a thread of its own, which goes on only while somebody waits for it.

    Neither of the two threads ever runs beside the other, so that they may share a model.
    """

    def __init__(self, work: Callable[[Callable[[], None]], T]) -> None:
        """Runs `work`, which calls what it is given wherever others may have their turn."""
        self._work = work
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._left = False
        self._done = False
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def __iter__(self) -> Generator[T | None]:
        """Yields None after each turn but the last, and then the result. Raises what the function raises."""
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
            self._left = True
            self._go.release()
            self._thread.join()
            self._error = None  # its traceback knows this, and all that the work was about: each would keep the other

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._result.append(self._work(self._pause))
        except BaseException as error:  # whatever it is, it belongs to whoever waits
            self._error = error
        self._done = True
        self._back.release()

    def _pause(self) -> None:
        self._back.release()
        self._go.acquire()
        if self._left:
            raise Left
