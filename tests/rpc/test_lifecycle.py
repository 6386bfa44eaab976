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
    return _run(SERVE.format(prepare=prepare), *flags)


def _run(code: str, *flags: str) -> subprocess.Popen[str]:
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


def test_ctrl_c_while_it_imports_ends_it_without_a_traceback():
    code = """
import signal, sys
from sensorium import rpc

def serve(settings):
    signal.raise_signal(signal.SIGINT)
    raise AssertionError

rpc.main(rpc.ServerSettings, serve, program="serve")
"""
    with _run(code) as process:
        assert process.stderr.read() == ""
        assert process.wait(600) == -signal.SIGINT


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


KEPT = """
import asyncio, atexit, gc, sys
from sensorium import rpc

@atexit.register
def tell():
    sys.stderr.write(f"kept {int(gc.isenabled())} {gc.get_freeze_count()}\\n")  # at once, beside a thread that logs

def serve(settings):
    tell()
    return rpc.run(rpc.Server(settings, ["sensorium.v1.TextService"]), prepare)

async def prepare():
    tell()
    rpc.prepared = [[] for _ in range(100_000)]
    asyncio.get_running_loop().call_later(0.1, look)

def look():
    tell() if gc.get_freeze_count() > 100_000 else asyncio.get_running_loop().call_later(0.1, look)

sys.exit(rpc.main(rpc.ServerSettings, serve, program="serve"))
"""


def test_what_was_imported_and_prepared_is_kept_from_the_garbage_collector_until_the_end():
    with _run(KEPT, "--drain-delay-seconds", "0") as process:
        told = _until(process, "ready")
        told += _until(process, "kept")
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        told += process.stderr.read()
        assert process.wait(600) == 0
    states = [[int(number) for number in line.split()[1:]] for line in told.splitlines() if line.startswith("kept")]
    (_, beginning), (_, imported), (_, prepared), (_, end) = states
    assert [enabled for enabled, _ in states] == [0, 1, 1, 1]
    assert beginning == end == 0
    assert imported > 10_000
    assert prepared > imported + 100_000


END = """
import atexit, sys, threading, time
from sensorium import rpc

class Held:
    def __del__(self):
        print("freed")

held = Held()
atexit.register(print, "an exit function")
threading.Thread(target=lambda: (time.sleep(0.3), print("a thread's last words"))).start()
sys.stdout.write("buffered\\n")
rpc.end(7)
"""


def test_what_is_held_at_the_end_is_let_go_at_once():
    done = subprocess.run([sys.executable, "-W", "error", "-c", END], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.splitlines() == ["buffered", "a thread's last words", "an exit function"]
