"""A running call with a stream of events."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from sensorium.client.blocking.iteration import Iteration
from sensorium.client.call import Call, Q, R, endpoint_in
from sensorium.client.failure import cancelled, failure_of, incomplete
from sensorium.client.retry import Retry

EventT_co = TypeVar("EventT_co", bound=Message, covariant=True)


class EventCall(Protocol[EventT_co]):
    """What the stream needs of gRPC's call."""

    def __next__(self) -> EventT_co: ...
    def cancel(self) -> bool: ...  # noqa: D102
    def initial_metadata(self) -> Iterable[tuple[str, str | bytes]]: ...  # noqa: D102


class Feed(Generic[Q]):
    """The requests of a caller on their way out. Keeps the exception that ended them, which gRPC would swallow."""

    def __init__(self, requests: Iterable[Q], addressed: Callable[[Q], Q]) -> None:
        self._requests = iter(requests)
        self._addressed = addressed
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Q]:
        return self

    def __next__(self) -> Q:
        try:
            return self._addressed(next(self._requests))
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


class Stream(Iteration[R]):
    """The events of one call, as they arrive."""

    def __init__(
        self, open_call: Callable[[], EventCall[R]], call: Call, retry: Retry | None, feed: Feed[Any] | None = None
    ) -> None:
        self.request_id = call.request_id
        self._open = open_call
        self._call = call
        self._retry = retry
        self._feed = feed
        self._begun = False
        self._complete = False
        self._attempt = 1
        self._cancelled = threading.Event()
        self._events = open_call()

    def __next__(self) -> R:
        while True:
            try:
                event = next(self._events)
            except StopIteration:
                if self._complete:
                    raise
                raise incomplete(self.request_id) from None
            except grpc.RpcError as error:
                failure = error
            else:
                self._begun = True
                self._complete = event.WhichOneof("event") == "completed"
                return event
            self._recover(failure)

    def _recover(self, error: grpc.RpcError) -> None:
        """Opens the call again after the wait that is due, or raises what ended it."""
        if self._feed is not None and self._feed.error is not None:
            raise self._feed.error
        if self._cancelled.is_set():
            raise cancelled(self.request_id)
        failure = failure_of(error, self.request_id)
        wait = self._retry.wait(failure, self._attempt, self._call) if self._retry and not self._begun else None
        if wait is None:
            raise failure
        if self._cancelled.wait(wait):
            raise cancelled(self.request_id)
        self._attempt += 1
        self._events = self._open()

    def cancel(self) -> None:
        """Ends the call, from any thread. Does nothing to one that has ended."""
        self._cancelled.set()
        self._events.cancel()

    def metadata(self) -> Mapping[str, str | bytes]:
        """Waits for the server's initial metadata and returns it; empty where the call failed before any."""
        return dict(self._events.initial_metadata())

    def endpoint(self) -> str | None:
        """Waits for the initial metadata and returns the endpoint it names, if any."""
        return endpoint_in(self.metadata())
