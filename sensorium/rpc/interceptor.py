"""What surrounds every call: its id, its admission, its errors, and its observer."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from time import monotonic
from typing import Any

import grpc
from grpc import StatusCode

from sensorium.call_record import CALL_RECORD, CallRecord
from sensorium.errors import Internal, InvalidArgument, SensoriumError, TaskNotSupported
from sensorium.rpc.behaviours import Context, Handler, Patience, guarded
from sensorium.rpc.call_log import FREQUENT, log_call
from sensorium.rpc.gate import Gate
from sensorium.rpc.observer import CallObserver
from sensorium.rpc.request_ids import REQUEST_ID, echo, request_id_of
from sensorium.rpc.trace_context import trace_of
from sensorium.rpc.tracing import CALL_TRACE, CallTrace, Tracer
from sensorium.status import reason_in, to_status, trailers

_log = logging.getLogger("sensorium.rpc")

_STANDARD_SERVICES = ("/grpc.",)
_CODES = {code.value[0]: code for code in StatusCode}
HASTE_SECONDS = 0.1
"""By which a caller's deadline may pass there before it passes here: the call was on its way to us for that long."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The one interceptor of a server, for calls of all four arities, on messages or on raw bytes.

    A caller gets a `SensoriumError` as its status, and any other exception as `Internal` with a fixed text; the log
    holds the rest. The request id is in `REQUEST_ID` while the call is served, goes back in the initial metadata, or
    where a handler sends its own, in whatever that puts there. gRPC's own services are neither counted nor refused.
    """

    def __init__(self, gate: Gate, observer: CallObserver, patience: Patience, tracer: Tracer | None = None) -> None:
        """Guards calls, and gives up those whose callers do nothing for longer than `patience` has."""
        self._tracer = tracer
        self._gate = gate
        self._observer = observer
        self._patience = patience
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Returns the handler of the method, guarded; one that refuses where there is no such method."""
        method = handler_call_details.method
        known = self._guarded.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            # Not kept: the names of methods that are not here are the caller's, and without bound.
            return self._guard(_refusal(method), method, counted=False)
        counted = not method.startswith(_STANDARD_SERVICES)
        wrapped = self._guard(handler, method, counted)
        self._guarded[method] = wrapped
        return wrapped

    def _guard(self, handler: Handler, method: str, counted: bool) -> Handler:
        return guarded(handler, lambda context: self._call(method, context, counted), self._patience)

    @asynccontextmanager
    async def _call(self, method: str, context: Context, counted: bool) -> AsyncGenerator[CallRecord]:
        record = _begin(method, context)
        code, trace = StatusCode.UNKNOWN, self._started(record, context) if counted else None
        try:
            with self._gate.admitted() if counted else nullcontext():
                yield record
            await echo(context, record.request_id)
            code = _CODES.get(_number(context.code()), StatusCode.OK)
        except SensoriumError as error:
            code = error.code
            await _refuse(context, error, record)
        except grpc.aio.AbortError:
            code = _CODES.get(_number(context.code()), StatusCode.UNKNOWN)
            record.reason = reason_in(context.trailing_metadata() or ())
            raise
        except grpc.aio.InternalError:
            # A write failed: the caller is gone, and the cancellation of this task is on its way.
            code = _gone(context)
            raise
        except asyncio.CancelledError:
            code = _gone(context)
            task = asyncio.current_task()
            if task is not None and (failure := self._gate.failure) is not None and not context.done():
                task.uncancel()
                code = failure.code
                await _refuse(context, failure, record)
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this call: let through, the exception would leave the caller waiting for ever.
            code = StatusCode.INTERNAL
            _log.exception("%s: a cancellation escaped from the handler", method)
            await _refuse(context, Internal(), record)
        except Exception as error:
            code = StatusCode.INTERNAL
            _log.exception("%s failed", method)
            error.__traceback__ = None
            await _refuse(context, Internal(), record)
        finally:
            if counted:
                self._finished(record, trace, code, context.peer())

    def _started(self, record: CallRecord, context: Context) -> CallTrace | None:
        trace = None
        if self._tracer is not None and not record.method.startswith(FREQUENT):
            trace = self._tracer.begin(record, context.invocation_metadata() or ())
            CALL_TRACE.set(trace)
        self._observer.started(record.method)
        return trace

    def _finished(self, record: CallRecord, trace: CallTrace | None, code: StatusCode, peer: str) -> None:
        seconds = monotonic() - record.began
        self._observer.finished(record.method, code, seconds)
        log_call(record, code, seconds, peer)
        if trace is not None:
            trace.end(code)


def _begin(method: str, context: Context) -> CallRecord:
    metadata = context.invocation_metadata() or ()
    record = CallRecord(method, request_id_of(metadata))
    record.trace_id, record.sampled = trace_of(metadata)
    REQUEST_ID.set(record.request_id)
    CALL_RECORD.set(record)
    return record


async def _refuse(context: Context, error: SensoriumError, record: CallRecord) -> None:
    record.reason = error.reason
    error.__traceback__ = None  # of which a frame holds the error, and others what the call was sent
    status = to_status(error, record.request_id)
    if isinstance(error, InvalidArgument):
        _log.debug("refused: %s", [violation.field for violation in error.violations])
    await echo(context, record.request_id)
    own: Any = context.trailing_metadata() or ()
    await context.abort(error.code, status.message, (*own, *trailers(status)))


def _gone(context: Context) -> StatusCode:
    remaining: Any = context.time_remaining()
    passed = remaining is not None and remaining <= HASTE_SECONDS
    return StatusCode.DEADLINE_EXCEEDED if passed else StatusCode.CANCELLED


def _number(code: Any) -> int:
    """Returns a code as its number: grpc.aio keeps one or the other, depending on who set it."""
    return code.value[0] if isinstance(code, StatusCode) else int(code or 0)


def _refusal(method: str) -> Handler:
    async def refuse(_requests: Any, _context: Any) -> None:
        raise TaskNotSupported(f"There is no method {method[:200]} here.")

    behaviour: Any = refuse
    return grpc.stream_stream_rpc_method_handler(behaviour)
