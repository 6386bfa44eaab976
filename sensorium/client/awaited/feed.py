"""The requests of a caller on their way out."""

import asyncio
from collections.abc import AsyncIterable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from sensorium.client.call import Q, with_model

RequestT_contra = TypeVar("RequestT_contra", bound=Message, contravariant=True)


class WritableCall(Protocol[RequestT_contra]):
    """What the feed needs of gRPC's call."""

    async def write(self, request: RequestT_contra) -> None: ...  # noqa: D102
    async def done_writing(self) -> None: ...  # noqa: D102
    def cancel(self) -> bool: ...  # noqa: D102
    def done(self) -> bool: ...  # noqa: D102


class AsyncFeed(Generic[Q]):
    """Writes requests in a task of its own, no faster than they leave, and ends with the call.

    gRPC's own poller would swallow the exception that ends the requests, and wait for them after the call has ended.
    """

    def __init__(self, requests: AsyncIterable[Q], model: str) -> None:
        self._requests = requests
        self._model = model
        self._task: asyncio.Task[None] | None = None
        self.error: Exception | None = None

    def start(self, call: WritableCall[Q]) -> None:
        """Begins to write to `call`."""
        self._task = asyncio.create_task(self._write(call))

    async def _write(self, call: WritableCall[Q]) -> None:
        try:
            async for request in self._requests:
                await call.write(with_model(request, self._model))
        except Exception as error:
            if not call.done():
                self.error = error
                call.cancel()
            return
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # The call has ended; who reads it sees why.
            await call.done_writing()

    def stop(self) -> None:
        """Stops writing. Does nothing to a feed that has ended."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
