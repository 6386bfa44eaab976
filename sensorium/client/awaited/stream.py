"""A running call with a stream of events."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import aio

from sensorium.client.awaited.feed import AsyncFeed
from sensorium.client.awaited.iteration import AsyncIteration
from sensorium.client.call import Call, R, endpoint_in
from sensorium.client.failure import cancelled, failure_of, incomplete
from sensorium.client.retry import Retry
from sensorium.errors import SensoriumError

EventT_co = TypeVar("EventT_co", bound=Message, covariant=True)


class EventCall(Protocol[EventT_co]):
    """What the stream needs of gRPC's call."""

    def __aiter__(self) -> AsyncIterator[EventT_co]: ...
    def cancel(self) -> bool: ...  # noqa: D102
    async def initial_metadata(self) -> aio.Metadata: ...  # noqa: D102


class AsyncStream(AsyncIteration[R]):
    """The events of one call, as they arrive."""

    def __init__(
        self, open_call: Callable[[], EventCall[R]], call: Call, retry: Retry | None, feed: AsyncFeed[Any] | None = None
    ) -> None:
        self.request_id = call.request_id
        self._open = open_call
        self._call = call
        self._retry = retry
        self._feed = feed
        self._begun = False
        self._complete = False
        self._attempt = 1
        self._cancelled = asyncio.Event()
        self._failure: Exception | None = None
        self._running = open_call()
        self._events = aiter(self._running)

    async def __anext__(self) -> R:
        # Who reads on behind a failure meets it again: a stream that was cut must never look complete.
        if self._failure is not None:
            raise self._failure
        while True:
            try:
                event = await anext(self._events)
            except StopAsyncIteration:
                self._stop_feed()
                if self._complete:
                    raise
                self._failure = incomplete(self.request_id)
                raise self._failure from None
            except grpc.RpcError as error:
                failure = failure_of(error, self.request_id)
            except asyncio.CancelledError:
                self._stop_feed()
                self._failure = self._reason_of_cancel()
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                raise self._failure from None
            else:
                self._begun = True
                self._complete = event.WhichOneof("event") == "completed"
                return event
            await self._recover(failure)

    def _reason_of_cancel(self) -> Exception:
        broken = self._feed.error if self._feed is not None else None
        return broken or cancelled(self.request_id)

    async def _recover(self, failure: SensoriumError) -> None:
        """Opens the call again after the wait that is due, or raises what ended it."""
        self._stop_feed()
        wait = self._retry.wait(failure, self._attempt, self._call) if self._retry and not self._begun else None
        self._failure = failure
        if wait is None:
            raise failure
        try:
            async with asyncio.timeout(wait):
                await self._cancelled.wait()
        except TimeoutError:
            self._failure = None
            self._attempt += 1
            self._running = self._open()
            self._events = aiter(self._running)
        else:
            self._failure = cancelled(self.request_id)
            raise self._failure

    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""
        self._cancelled.set()
        self._running.cancel()
        self._stop_feed()

    def _stop_feed(self) -> None:
        if self._feed is not None:
            self._feed.stop()

    def __del__(self) -> None:
        self._stop_feed()

    async def metadata(self) -> Mapping[str, str | bytes]:
        """Waits for the server's initial metadata and returns it; empty where the call failed before any."""
        return dict(await self._running.initial_metadata())

    async def endpoint(self) -> str | None:
        """Waits for the initial metadata and returns the endpoint it names, if any."""
        return endpoint_in(await self.metadata())
