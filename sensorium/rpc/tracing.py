"""Where traces are made, if an operator wants any: the kit's side of it, which knows no tracing library.

Without a tracer a call costs nothing here, and its trace context passes through as it came.
"""

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from grpc import StatusCode

from sensorium.call_record import CALL_RECORD, CallRecord
from sensorium.rpc.settings import ServerSettings

Headers = tuple[tuple[str, str], ...]


class CallTrace(Protocol):
    """One call in a trace, from its arrival to `end`."""

    def headers(self) -> Headers:
        """Returns the metadata that make what is called now a part of this trace."""
        ...

    def attempt(self, endpoint: str) -> AbstractContextManager[None]:
        """Holds one try to have the call answered by an endpoint; an RpcError that passes is how it ended."""
        ...

    def end(self, code: StatusCode) -> None:
        """Ends it, with all that the record of the call has."""
        ...


class Tracer(Protocol):
    """What makes traces. Never waits for whoever collects them."""

    def begin(self, record: CallRecord, metadata: Iterable[tuple[str, str | bytes]]) -> CallTrace:
        """Begins a call's part of a trace, its caller's where `metadata` name one; tells the record which it is."""
        ...

    def close(self) -> None:
        """Sends what is left, for a few seconds at most. Blocks."""
        ...


CALL_TRACE: ContextVar[CallTrace | None] = ContextVar("call_trace", default=None)
"""Trace of the call that the current task serves."""


def tracer_of(settings: ServerSettings, name: str) -> Tracer | None:
    """Returns what makes the traces of a process called `name`; None where none are wanted.

    Raises:
        ImportError: traces are wanted, and the extra `tracing` is not installed.
    """
    if settings.otlp_endpoint is None:
        return None
    from sensorium.rpc.telemetry import Telemetry  # not before somebody wants it: it takes a tenth of a second

    return Telemetry(settings.otlp_endpoint, settings.trace_ratio, name)


@contextmanager
def attempt(endpoint: str) -> Generator[None]:
    """Holds one try to have the current call answered by an endpoint, for its log and its trace."""
    if (record := CALL_RECORD.get()) is not None:
        record.endpoint = endpoint
    trace = CALL_TRACE.get()
    with nullcontext() if trace is None else trace.attempt(endpoint):
        yield


def trace_headers() -> Headers | None:
    """Returns the metadata that make what is called now a part of the current call's trace; None if there is none."""
    trace = CALL_TRACE.get()
    return None if trace is None else trace.headers()
