"""The requests of a caller on their way out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing, suppress
from typing import Any, Generic, Protocol

import grpc

from sensorium.client.call import Q

_STATUS_SECONDS = 5.0


class WritableCall(Protocol):
    """What the feed needs of gRPC's call."""

    @property
    def _cython_call(self) -> Any: ...
    async def wait_for_connection(self) -> None: ...  # noqa: D102
    async def done_writing(self) -> None: ...  # noqa: D102
    def cancel(self) -> bool: ...  # noqa: D102
    def done(self) -> bool: ...  # noqa: D102


class AsyncFeed(Generic[Q]):
    """Writes requests in a task of its own, no faster than they leave, and ends with the call.

    gRPC's own poller would swallow the exception that ends the requests, and wait for them after the call has ended.
    """

    def __init__(
        self, requests: AsyncIterable[Q], addressed: Callable[[Q], Q], serialize: Callable[[Q], bytes]
    ) -> None:
        self._requests = requests
        self._addressed = addressed
        self._serialize = serialize
        self._task: asyncio.Task[None] | None = None
        self.error: Exception | None = None

    def start(self, call: WritableCall) -> None:
        """Begins to write to `call`."""
        self._task = asyncio.create_task(self._write(call))

    async def _write(self, call: WritableCall) -> None:
        try:
            await self._write_all(call)
        finally:
            # A cancelled task keeps its exception, whose frames keep the feed, and what it was about to send.
            self._task = None

    async def _write_all(self, call: WritableCall) -> None:
        # A call that has ended refuses to be written to; whoever reads from it learns how it ended.
        with suppress(grpc.RpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            await call.wait_for_connection()
            async with aclosing(self._messages(call)) as messages:
                async for message in messages:
                    await _send(call, message)
            await call.done_writing()
            return
        # A status is on its way, unless gRPC refused the write itself: then nothing else would end the call.
        await asyncio.sleep(_STATUS_SECONDS)
        call.cancel()

    async def _messages(self, call: WritableCall) -> AsyncGenerator[bytes]:
        """Yields the requests as they go out; one that cannot be drawn ends the call."""
        try:
            async for request in self._requests:
                yield self._serialize(self._addressed(request))
        except Exception as error:
            if not call.done():
                self.error = error
                call.cancel()
        finally:
            # Here, and not by the garbage collector, a caller's generator lets go of its microphone.
            if (close := getattr(self._requests, "aclose", None)) is not None:
                await close()

    def stop(self) -> None:
        """Stops writing. Does nothing to a feed that has ended."""
        if self._task is not None and not self._task.done():
            self._task.cancel()


async def _send(call: WritableCall, message: bytes) -> None:
    """Writes as `call.write` does, but a failure leaves the status alone with which the server ended the call.

    `call.write` replaces that status with INTERNAL whenever the write was issued before the status had been seen, as
    it is while requests flow (grpc/grpc#36066).
    """
    await call._cython_call.send_serialized_message(message)
