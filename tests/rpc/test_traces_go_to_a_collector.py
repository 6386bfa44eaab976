import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from pydantic import ValidationError

from sensorium import rpc
from tests.rpc.peer import UNARY, ended, peer
from tests.waiting import PATIENCE, until

CALLS = 2200
"""More calls than the exporter's queue of spans holds."""


@asynccontextmanager
async def silent_collector() -> AsyncIterator[tuple[str, list[int]]]:
    """A collector that accepts connections but never reads or answers. Yields its URL and a list of connections."""
    connected: list[int] = []

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)
        try:
            await asyncio.sleep(3600)
        finally:
            writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connected
    finally:
        server.close()


class Collector(TraceServiceServicer):
    """A collector that accepts every export and keeps the spans."""

    def __init__(self) -> None:
        self.received: list[ResourceSpans] = []

    async def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
        self.received += request.resource_spans
        return ExportTraceServiceResponse()


async def test_what_is_left_is_sent_before_a_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.telemetry._FLUSH_SECONDS", PATIENCE)
    collector, listening = Collector(), grpc.aio.server()
    add_TraceServiceServicer_to_server(collector, listening)
    port = listening.add_insecure_port("127.0.0.1:0")
    await listening.start()
    async with peer(otlp_endpoint=f"http://127.0.0.1:{port}") as server:
        assert await ended(server.call(UNARY)) is StatusCode.OK
    await listening.stop(None)
    (received,) = collector.received
    told = {each.key: each.value.string_value for each in received.resource.attributes}
    assert told["service.name"] == "sensorium-server"
    assert [span.name for scope in received.scope_spans for span in scope.spans] == [UNARY[1:]]


async def test_a_collector_that_hangs_holds_up_neither_calls_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # Far longer than a stall of the machine, so that a call that waits for the collector stands out.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
    async with silent_collector() as (endpoint, connected):
        async with peer(otlp_endpoint=endpoint) as server:
            longest = 0.0
            for _ in range(CALLS):
                began = time.monotonic()
                assert await ended(server.call(UNARY)) is StatusCode.OK
                longest = max(longest, time.monotonic() - began)
            await until(lambda: bool(connected))
            assert longest < 50, "a call waited for the collector"
            began = time.monotonic()
        assert time.monotonic() - began < 50


def test_the_library_is_not_even_imported_where_no_traces_are_wanted() -> None:
    found = "import sys, sensorium.rpc, gateway.app; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_the_process_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sensorium.rpc.telemetry", None)

    async def make() -> None:
        rpc.Server(rpc.ServerSettings(otlp_endpoint="http://127.0.0.1:4317"), ())

    with pytest.raises(rpc.CannotServe, match="sensorium\\[tracing\\]"):
        asyncio.run(make())


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4317", "http://127.0.0.1", "http://127.0.0.1:4317/v1/traces", "ftp://a:1"]
)
def test_an_endpoint_has_a_scheme_and_a_port(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="HOST:PORT"):
        rpc.ServerSettings(otlp_endpoint=endpoint)
