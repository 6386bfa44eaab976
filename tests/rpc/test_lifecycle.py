"""The life of a process started by `rpc.main`, from its flags to its exit code."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SERVE = """
import asyncio, sys
from sensorium import rpc

async def serve(settings):
    server = rpc.Server(settings, ["sensorium.v1.TextService"])
    await rpc.run(server, prepare)

async def prepare():
    {prepare}

sys.exit(rpc.main(rpc.ServerSettings, serve, program="serve"))
"""


def _start(prepare: str, *flags: str) -> subprocess.Popen[str]:
    code = SERVE.format(prepare=prepare)
    command = [sys.executable, "-W", "error", "-c", code, "--port", "0", "--metrics-port", "0", *flags]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def _until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(seen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(number: signal.Signals):
    with _start("pass", "--drain-delay-seconds", "0") as process:
        _until(process, "ready")
        process.send_signal(number)
        assert "Traceback" not in process.stderr.read()
        assert process.wait(600) == 0


def test_a_signal_while_it_prepares_ends_it_at_once():
    with _start("await asyncio.sleep(3600)", "--drain-delay-seconds", "3600") as process:
        _until(process, "listening")
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
        assert "ready" not in process.stderr.read()


def test_a_preparation_that_fails_ends_it_with_1_at_once():
    with _start("raise ValueError('broken weights')", "--drain-delay-seconds", "3600") as process:
        assert "broken weights" in process.stderr.read()
        assert process.wait(600) == 1


def test_what_an_operator_can_mend_is_a_sentence():
    with _start("raise rpc.CannotServe('There is no model of that name.')") as process:
        told = process.stderr.read()
        assert "serve cannot start: There is no model of that name." in told
        assert "Traceback" not in told
        assert process.wait(600) == 1


def test_what_nobody_catches_is_logged_without_what_it_says():
    leave = """
    import gc, threading
    async def stray(): raise ValueError("CAN" + "ARY")
    task = asyncio.ensure_future(stray())
    await asyncio.sleep(0)
    del task
    class Odd:
        def __del__(self): raise ValueError("CAN" + "ARY")
    Odd()
    def end(): raise ValueError("CAN" + "ARY")
    thread = threading.Thread(target=end, name="lost")
    thread.start()
    thread.join()
    gc.collect()
"""
    with _start(leave, "--drain-delay-seconds", "0") as process:
        told = _until(process, "ready")
        process.send_signal(signal.SIGTERM)
        told += process.stderr.read()
    assert told.count("builtins.ValueError") == 3
    assert "CANARY" not in told
    assert all(text in told for text in ("never retrieved", "the thread lost ended", "could not be raised"))


def test_the_log_can_be_json():
    import json

    with _start("pass", "--drain-delay-seconds", "0", "--log-format", "json") as process:
        lines = _until(process, "ready").splitlines()
        process.send_signal(signal.SIGTERM)
        assert [json.loads(line)["message"] for line in lines][-1] == "ready"
        assert set(json.loads(lines[0])) == {"time", "level", "logger", "request_id", "message"}
        process.stderr.read()
        assert process.wait(600) == 0


def test_what_was_prepared_is_kept_from_the_garbage_collector_until_the_end():
    prepare = (
        "import atexit, gc; tell = lambda: print(gc.get_freeze_count(), file=sys.stderr); atexit.register(tell); "
        "later = asyncio.get_running_loop().call_later; "
        "look = lambda: tell() if gc.get_freeze_count() else later(0.1, look); look()"
    )
    with _start(prepare, "--drain-delay-seconds", "0") as process:
        _until(process, "ready")
        assert int(process.stderr.readline()) > 10_000
        process.send_signal(signal.SIGTERM)
        assert "0" in process.stderr.read().splitlines()
        assert process.wait(600) == 0
