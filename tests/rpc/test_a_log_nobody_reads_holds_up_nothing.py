"""When nobody reads the log, lines are dropped and counted, but calls go on."""

import fcntl
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sensorium.rpc.log_writer import LINES_DROPPED, LogWriter

ROOT = Path(__file__).parents[2]

# 20,000 lines exceed the queue of the log writer and the buffer of the pipe.
SERVE = """
import logging, sys
from sensorium import rpc

async def serve(settings):
    await rpc.run(rpc.Server(settings, ["sensorium.v1.TextService"]), prepare)

async def prepare():
    for number in range(20_000):
        logging.info("filler %d", number)

sys.exit(rpc.main(rpc.ServerSettings, serve, program="serve"))
"""


def test_calls_go_on_while_nobody_reads_and_lines_come_when_somebody_does():
    flags = ("--port", "0", "--metrics-port", "0", "--drain-delay-seconds", "0")
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        line = next(line for line in process.stderr if "listening" in line)
        port, metrics = (int(found) for found in re.findall(r"127\.0\.0\.1:(\d+)", line))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answers = HealthStub(channel).Watch(HealthCheckRequest(), timeout=600)
            assert any(answer.status == HealthCheckResponse.SERVING for answer in answers)
            answers.cancel()
        dropped = _metric(metrics)
        assert dropped > 5000
        kept = 20_000 - int(dropped)  # read before the server stops, so that there is room for its last lines
        lines = [line for line, _ in zip(process.stderr, range(kept), strict=False)]
        process.send_signal(signal.SIGTERM)
        rest = "".join(lines) + process.stderr.read()
        assert process.wait(600) == 0
        numbers = [int(found) for found in re.findall(r"filler (\d+)", rest)]
        assert numbers == sorted(numbers)
        assert len(numbers) + dropped >= 20_000
        assert "stopped" in rest


def test_what_does_not_fit_is_counted_and_what_waits_is_written_at_the_end():
    reader, writer = os.pipe()
    with os.fdopen(reader) as lines, os.fdopen(writer, "w") as stream:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        handler, before = LogWriter(stream, most=10), _dropped()
        for number in range(1000):
            handler.handle(logging.makeLogRecord({"msg": f"{number:03} {'é' * 250}"}))
        dropped = _dropped() - before
        assert dropped > 500
        found = [lines.readline() for _ in range(1000 - int(dropped))]
        handler.handle(logging.makeLogRecord({"msg": "the last one"}))
        handler.close()
        assert lines.readline() == "the last one\n"
        assert [line.strip()[4:] for line in found] == ["é" * 250] * len(found)


def test_a_log_that_can_never_be_written_ends_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        handler, before = LogWriter(stream), _dropped()
        handler.handle(logging.makeLogRecord({"msg": "to nobody"}))
        handler.close()
        assert _dropped() - before == 1


def _dropped() -> float:
    return next(sample.value for metric in LINES_DROPPED.collect() for sample in metric.samples)


def _metric(port: int) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = re.search(r"^sensorium_log_lines_dropped_total (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found
    return float(found.group(1))
