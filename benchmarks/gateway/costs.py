"""`python -m benchmarks.gateway.costs`: CPU cost of single features per call or message (ADR 21, 22, 29, 37).

CPU time of the working thread, the least of many short runs, without other threads and the network.
"""

import asyncio
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Histogram
from rich.console import Console
from rich.table import Table

from benchmarks.gateway.known_endpoints import MODEL, KnownEndpoints
from benchmarks.gateway.least_time import Work, microseconds, now
from gateway.admission import Admission, Ask
from gateway.config import GatewaySettings
from gateway.labels import modality_label, task_label
from gateway.metrics import GatewayMetrics
from gateway.relay.answer import AnswerShape
from sensorium.buckets import DURATION_SECONDS
from sensorium.call_record import CallRecord
from sensorium.rpc import consumption_of
from sensorium.rpc.call_log import log_call
from sensorium.rpc.log_writer import LogWriter
from sensorium.rpc.logs import configure
from sensorium.tasks import METHODS
from sensorium.v1.common_pb2 import GenerationCompleted, Usage
from sensorium.v1.models_pb2 import TASK_GENERATE_TEXT
from sensorium.v1.text_pb2 import StreamGenerateResponse
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Delta

_METHOD = "/sensorium.v1.TextService/StreamGenerate"
_USAGE = Usage(input_token_count=100, output_token_count=50)


async def main() -> None:
    """Prints the table."""
    table = Table("what", "µs of processor")
    for name, work in {**_of_the_gateway(), **_of_every_server()}.items():
        table.add_row(name, f"{await microseconds(work):.1f}")
    for form in ("line", "json"):
        with _logging(form) as work:
            table.add_row(f"line of a call, {form}, without its writing", f"{await microseconds(work):.1f}")
    Console().print(table)


def _of_the_gateway() -> dict[str, Work]:
    answer = StreamGenerateResponse(completed=GenerationCompleted(usage=_USAGE)).SerializeToString()
    shape = AnswerShape.of(METHODS[_METHOD])
    admissions = {count: _admitted(count) for count in (10, 1000)}
    return {
        **{f"call let through to one of {count} endpoints, and ended": work for count, work in admissions.items()},
        "usage found in a stream's last message": now(lambda: shape.usage(answer)),
    }


def _of_every_server() -> dict[str, Work]:
    histogram = Histogram("seconds", "", registry=CollectorRegistry(), buckets=DURATION_SECONDS)
    exemplar = {"request_id": "8333eb67ad34429bae4d826553f55167"}
    return {
        "record of a call, and its usage": now(lambda: _record().consumption),
        "observation": now(lambda: histogram.observe(0.1)),
        "observation with an exemplar": now(lambda: histogram.observe(0.1, exemplar)),
        "delta through a stream, without a bound on messages": _told(0),
        "delta through a stream, with a bound that is not reached": _told(10**9),
    }


def _admitted(count: int) -> Work:
    endpoints = KnownEndpoints(count)
    settings = GatewaySettings.model_validate({"static": ("127.0.0.1:1",)})
    metrics = GatewayMetrics(CollectorRegistry(), task_label, modality_label, endpoints.catalog.names.__contains__)
    admission = Admission(endpoints, metrics, settings)

    async def work() -> None:
        lease = await admission.enter(Ask((TASK_GENERATE_TEXT,), MODEL), None)
        lease.worked = True
        lease.release()

    return work


def _told(per_second: int) -> Work:
    stream, delta = GenerationStream(pace=MessagePace(per_second)), Delta("word", (1,))

    async def work() -> object:
        stream.deliver(delta)
        return await anext(stream)

    return work


def _record() -> CallRecord:
    record = CallRecord(_METHOD, "8333eb67ad34429bae4d826553f55167")
    record.model, record.endpoint, record.consumption = MODEL, "10.0.0.1:50051", consumption_of(_USAGE)
    return record


@contextmanager
def _logging(form: Literal["line", "json"]) -> Generator[Work]:
    """Discards the log inside the block; yields a function that logs one call."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a device
        handler, record = LogWriter(nothing, most=10**9), _record()
        configure("info", form, handler=handler)
        yield now(lambda: log_call(record, StatusCode.OK, 0.1, "ipv4:10.0.0.7:51234"))
        handler.close()
        root.handlers[:], root.level = before


if __name__ == "__main__":
    asyncio.run(main())
