"""The three kinds of RPC of the contract, awaited."""

import asyncio
import itertools
from collections.abc import AsyncIterable
from functools import partial
from typing import Any, Generic, Unpack

import grpc

from sensorium.client.awaited.connection import AsyncConnection
from sensorium.client.awaited.feed import AsyncFeed
from sensorium.client.awaited.stream import AsyncStream
from sensorium.client.call import Call, CallOptions, Q, R, Reply
from sensorium.client.failure import cancelled, failure_of
from sensorium.client.method import Method


class AsyncUnary(Generic[Q, R]):
    """A unary RPC, ready to be called."""

    def __init__(self, method: Method[Q, R], connection: AsyncConnection) -> None:
        self._method = method
        self._connection = connection

    async def __call__(self, request: Q, **options: Unpack[CallOptions]) -> R:
        """Returns the response to `request`, which stays as it is.

        Raises:
            SensoriumError: the server's error, or the channel's.
        """
        return (await self.reply(request, **options)).message

    async def reply(self, request: Q, **options: Unpack[CallOptions]) -> Reply[R]:
        """Returns the response with its metadata; otherwise like a plain call."""
        settings = self._connection.settings
        call = self._connection.call(options)
        request = self._method.addressed(request, settings.model)
        for attempt in itertools.count(1):
            try:
                return await self._attempt(request, call)
            except grpc.RpcError as error:
                failure = failure_of(error, call.request_id)
            wait = settings.retry.wait(failure, attempt, call) if settings.retry else None
            if wait is None:
                try:
                    raise failure
                finally:
                    del failure  # or this frame and it would keep each other, and the request
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _attempt(self, request: Q, call: Call) -> Reply[R]:
        method = self._method
        multicallable = self._connection.channel.unary_unary(method.name, method.serialize, method.parse)
        running: Any = multicallable(request, timeout=call.remaining(), metadata=call.metadata)
        try:
            message: R = await running
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise cancelled(call.request_id) from None  # The client was closed meanwhile.
        return Reply(message, call.request_id, dict(await running.initial_metadata()))


class AsyncServerStream(Generic[Q, R]):
    """An RPC that streams its response, ready to be called."""

    def __init__(self, method: Method[Q, R], connection: AsyncConnection) -> None:
        self._method = method
        self._connection = connection

    def __call__(self, request: Q, **options: Unpack[CallOptions]) -> AsyncStream[R]:
        """Sends `request`, which stays as it is, and returns the stream of its events; there is nothing to await."""
        settings = self._connection.settings
        call = self._connection.call(options)
        request = self._method.addressed(request, settings.model)
        method = self._method

        def open_call() -> Any:
            multicallable = self._connection.channel.unary_stream(method.name, method.serialize, method.parse)
            return multicallable(request, timeout=call.remaining(), metadata=call.metadata)

        return AsyncStream(open_call, call, settings.retry)


class AsyncBidi(Generic[Q, R]):
    """An RPC with a stream either way, ready to be called."""

    def __init__(self, method: Method[Q, R], connection: AsyncConnection) -> None:
        self._method = method
        self._connection = connection

    def __call__(self, requests: AsyncIterable[Q], **options: Unpack[CallOptions]) -> AsyncStream[R]:
        """Begins to send `requests`, drawn in a task of their own, and returns the stream of events.

        An exception of `requests` ends the call and is raised by the stream. Such a call is never retried.
        """
        call = self._connection.call(options)
        method = self._method
        feed = AsyncFeed(requests, partial(method.addressed, model=self._connection.settings.model), method.serialize)

        def open_call() -> Any:
            multicallable = self._connection.channel.stream_stream(method.name, method.serialize, method.parse)
            running: Any = multicallable(timeout=call.remaining(), metadata=call.metadata)
            feed.start(running)
            return running

        return AsyncStream(open_call, call, None, feed)
