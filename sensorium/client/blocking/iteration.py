"""Iterators that end their call when their reader leaves."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Iteration(ABC, Generic[T]):
    """What arrives over one running call.

    Leaving a `for` over it early cancels the call, as do leaving its `with` and `cancel`: the server stops computing
    at once. `next` takes a single element and leaves the rest in place.
    """

    @abstractmethod
    def __next__(self) -> T:
        """Waits for the next element.

        Raises:
            StopIteration: the call ended with OK, behind its `completed`.
            SensoriumError: the call failed; `Cancelled` after `cancel`.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""

    def __iter__(self) -> Iterator[T]:
        return _Loop(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class _Loop(Iterator[T]):
    """The iterator of one `for`, which drops it when the loop is left."""

    def __init__(self, iteration: Iteration[T]) -> None:
        self._iteration = iteration

    def __next__(self) -> T:
        return next(self._iteration)

    def __del__(self) -> None:
        self._iteration.cancel()
