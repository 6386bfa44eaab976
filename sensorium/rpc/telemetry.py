"""Traces by OpenTelemetry, sent to a collector over OTLP. The only module that knows the library."""

import logging
import os
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from threading import Thread
from time import monotonic_ns, time_ns

import grpc
from grpc import StatusCode
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, set_span_in_context
from opentelemetry.trace import StatusCode as SpanStatus
from opentelemetry.trace import Tracer as OpenTelemetryTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sensorium import __version__
from sensorium.call_record import CallRecord
from sensorium.rpc.phases import phases_of
from sensorium.rpc.span_attributes import after, attempted, before
from sensorium.rpc.tracing import Headers

_FLUSH_SECONDS = 2.0
# A caller's mistake is no failure of a server.
_FAILURES = {
    StatusCode.UNKNOWN,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.UNIMPLEMENTED,
    StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE,
    StatusCode.DATA_LOSS,
}
_NOT_OK = set(StatusCode) - {StatusCode.OK}
_PROPAGATOR = TraceContextTextMapPropagator()
_FIELDS = frozenset(_PROPAGATOR.fields)


class Telemetry:
    """A Tracer. Spans wait for a thread that sends them; where that does not keep up they are dropped."""

    def __init__(self, endpoint: str, ratio: float, name: str) -> None:
        """Sends to a collector at `endpoint` (`http://HOST:PORT`) `ratio` of the traces that begin here.

        Of traces that begin elsewhere it sends its part where the caller records them.
        """
        # It says every few seconds that it tries again; that it failed is enough.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        self._exporter = exporter_of(endpoint)
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", f"sensorium-{name}"),
                "service.version": __version__,
                "service.instance.id": socket.gethostname(),
            }
        )
        sampler = ParentBased(TraceIdRatioBased(ratio))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("sensorium", __version__)

    def begin(self, record: CallRecord, metadata: Iterable[tuple[str, str | bytes]]) -> "TracedCall":
        """See Tracer."""
        carrier = {key: value for key, value in metadata if key in _FIELDS and isinstance(value, str)}
        epoch = time_ns() - monotonic_ns()
        began = epoch + int(record.began * 1e9)
        caller = _PROPAGATOR.extract(carrier, Context())
        span = self._tracer.start_span(record.method[1:], caller, SpanKind.SERVER, before(record), start_time=began)
        context = span.get_span_context()
        record.trace_id, record.sampled = f"{context.trace_id:032x}", context.trace_flags.sampled
        return TracedCall(self._tracer, span, record, epoch)

    def close(self) -> None:
        """See Tracer."""
        flushing = Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_SECONDS)
        if flushing.is_alive():
            self._exporter.shutdown()  # which lets go of a collector that does not answer
            flushing.join(_FLUSH_SECONDS)


class TracedCall:
    """A CallTrace."""

    def __init__(self, tracer: OpenTelemetryTracer, span: Span, record: CallRecord, epoch: int) -> None:
        """Takes over `span`; `epoch` is when the clock of `time.monotonic` was 0, in nanoseconds since 1970."""
        self._tracer = tracer
        self._span = span
        self._record = record
        self._epoch = epoch
        self._inside = set_span_in_context(span, Context())
        self._now = self._inside

    def headers(self) -> Headers:
        """See CallTrace."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, self._now)
        return tuple(carrier.items())

    @contextmanager
    def attempt(self, endpoint: str) -> Generator[None]:
        """See CallTrace."""
        span = self._tracer.start_span(
            self._record.method[1:], self._inside, SpanKind.CLIENT, attempted(self._record, endpoint)
        )
        self._now = set_span_in_context(span, self._inside)
        code = StatusCode.CANCELLED
        try:
            yield
            code = StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
            raise
        finally:
            _finish(span, code, _NOT_OK)
            self._now = self._inside

    def end(self, code: StatusCode) -> None:
        """See CallTrace."""
        if self._span.is_recording():
            for name, began, ended in phases_of(self._record):
                self._tracer.start_span(name, self._inside, start_time=self._at(began)).end(self._at(ended))
            self._span.set_attributes(after(self._record, code))
            _finish(self._span, code, _FAILURES)
        else:
            self._span.end()

    def _at(self, moment: float) -> int:
        return self._epoch + int(moment * 1e9)


def exporter_of(endpoint: str) -> SpanExporter:
    """Returns what sends spans to a collector; over TLS where the endpoint begins with https."""
    return OTLPSpanExporter(endpoint=endpoint)


def _finish(span: Span, code: StatusCode, failures: set[StatusCode]) -> None:
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    if code in failures:
        span.set_status(Status(SpanStatus.ERROR, code.name))
    span.end()
