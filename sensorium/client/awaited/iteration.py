"""Asynchronous iterators that end their call when their reader leaves."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class AsyncIteration(ABC, Generic[T]):
    """What arrives over one running call.

    Leaving an `async for` over it early cancels the call, as do leaving its `async with`, cancelling the task that
    waits, and `cancel`: the server stops computing at once. `anext` takes a single element and leaves the rest.
    """

    @abstractmethod
    async def __anext__(self) -> T:
        """Waits for the next element.

        Raises:
            StopAsyncIteration: the call ended with OK, behind its `completed`.
            SensoriumError: the call failed; `Cancelled` after `cancel`.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""

    def __aiter__(self) -> AsyncIterator[T]:
        return _Loop(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class _Loop(AsyncIterator[T]):
    """The iterator of one `async for`, which drops it when the loop is left."""

    def __init__(self, iteration: AsyncIteration[T]) -> None:
        self._iteration = iteration

    async def __anext__(self) -> T:
        return await anext(self._iteration)

    def __del__(self) -> None:
        self._iteration.cancel()
