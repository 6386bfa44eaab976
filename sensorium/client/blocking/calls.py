"""The three kinds of RPC of the contract, blocking."""

import itertools
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Generic, Unpack

import grpc

from sensorium.client.blocking.connection import Connection
from sensorium.client.blocking.stream import Feed, Stream
from sensorium.client.call import Call, CallOptions, Q, R, Reply
from sensorium.client.failure import failure_of
from sensorium.client.method import Method


class BlockingUnary(Generic[Q, R]):
    """A unary RPC, ready to be called."""

    def __init__(self, method: Method[Q, R], connection: Connection) -> None:
        self._method = method
        self._connection = connection

    def __call__(self, request: Q, **options: Unpack[CallOptions]) -> R:
        """Returns the response to `request`, which stays as it is.

        Raises:
            SensoriumError: the server's error, or the channel's.
        """
        return self.reply(request, **options).message

    def reply(self, request: Q, **options: Unpack[CallOptions]) -> Reply[R]:
        """Returns the response with its metadata; otherwise like a plain call."""
        settings = self._connection.settings
        call = self._connection.call(options)
        request = self._method.addressed(request, settings.model)
        for attempt in itertools.count(1):
            try:
                return self._attempt(request, call)
            except grpc.RpcError as error:
                failure = failure_of(error, call.request_id)
            wait = settings.retry.wait(failure, attempt, call) if settings.retry else None
            if wait is None:
                try:
                    raise failure
                finally:
                    del failure  # or this frame and it would keep each other, and the request
            time.sleep(wait)
        raise AssertionError("unreachable")

    def _attempt(self, request: Q, call: Call) -> Reply[R]:
        method = self._method
        multicallable = self._connection.channel.unary_unary(method.name, method.serialize, method.parse)
        message, ended = multicallable.with_call(request, timeout=call.remaining(), metadata=call.metadata)
        return Reply(message, call.request_id, dict(ended.initial_metadata()))


class BlockingServerStream(Generic[Q, R]):
    """An RPC that streams its response, ready to be called."""

    def __init__(self, method: Method[Q, R], connection: Connection) -> None:
        self._method = method
        self._connection = connection

    def __call__(self, request: Q, **options: Unpack[CallOptions]) -> Stream[R]:
        """Sends `request`, which stays as it is, and returns the stream of its events without waiting for the first."""
        settings = self._connection.settings
        call = self._connection.call(options)
        request = self._method.addressed(request, settings.model)
        method = self._method

        def open_call() -> Any:
            multicallable = self._connection.channel.unary_stream(method.name, method.serialize, method.parse)
            return multicallable(request, timeout=call.remaining(), metadata=call.metadata)

        return Stream(open_call, call, settings.retry)


class BlockingBidi(Generic[Q, R]):
    """An RPC with a stream either way, ready to be called."""

    def __init__(self, method: Method[Q, R], connection: Connection) -> None:
        self._method = method
        self._connection = connection

    def __call__(self, requests: Iterable[Q], **options: Unpack[CallOptions]) -> Stream[R]:
        """Begins to send `requests`, drawn in another thread, and returns the stream of events.

        An exception of `requests` ends the call and is raised by the stream. Such a call is never retried.
        """
        call = self._connection.call(options)
        method = self._method
        feed = Feed(requests, partial(method.addressed, model=self._connection.settings.model))

        def open_call() -> Any:
            multicallable = self._connection.channel.stream_stream(method.name, method.serialize, method.parse)
            return multicallable(feed, timeout=call.remaining(), metadata=call.metadata)

        return Stream(open_call, call, None, feed)
