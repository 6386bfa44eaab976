import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import sensorium
from sensorium.cli import app
from sensorium.v1 import text_pb2
from tests.client.events import STARTED, Endless, completed, delta
from tests.client.fake import Fake

ROOT = Path(__file__).parents[2]
PATIENCE = 600


def start(fake: Fake, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sensorium.cli", *arguments, "--target", fake.target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        # Python must buffer as it does for everybody, or what the command forgets to flush would still arrive.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


def shell(fake: Fake, command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m sensorium.cli {command}'],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "SENSORIUM_TARGET": fake.target, **environment},
        timeout=PATIENCE,
    )


def answer_in_japanese(fake: Fake) -> None:
    fake.answers["TextService/Generate"] = lambda request, context: text_pb2.GenerateResponse(
        candidates=[{"text": "日本"}]
    )
    fake.answers["TextService/StreamGenerate"] = lambda request, context: iter([STARTED, delta("日本"), completed()])


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, out, errors


def test_text_arrives_while_the_rest_is_held_back(fake: Fake) -> None:
    release = Event()

    def held(request: Any, context: Any) -> Any:
        yield STARTED
        yield delta("first ")
        assert release.wait(PATIENCE)
        yield delta("second")
        yield completed()

    fake.answers["TextService/StreamGenerate"] = held
    process = start(fake, "text", "stream-generate", "Hi")
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 100) == b"first "
    release.set()
    assert finish(process) == (0, b"second\n", b"")


def test_ctrl_c_cancels_a_stream_and_exits_130(fake: Fake) -> None:
    endless = Endless()
    fake.answers["TextService/StreamGenerate"] = endless
    process = start(fake, "text", "stream-generate", "Hi")
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert (code, errors) == (130, b"")
    assert endless.left.wait(PATIENCE)


def test_ctrl_c_cancels_a_unary_call(fake: Fake) -> None:
    begun, gone = Event(), Event()

    def hang(request: Any, context: Any) -> text_pb2.GenerateResponse:
        context.add_callback(gone.set)
        begun.set()
        gone.wait(PATIENCE)
        return text_pb2.GenerateResponse()

    fake.answers["TextService/Generate"] = hang
    process = start(fake, "text", "generate", "Hi")
    assert begun.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, b"", b"")
    assert gone.wait(PATIENCE)


def test_ctrl_c_while_it_starts_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "application", interrupted)
    with pytest.raises(SystemExit) as ended:
        app.run()
    assert ended.value.code == 130


def test_a_reader_that_leaves_ends_the_command_quietly(fake: Fake) -> None:
    endless = Endless()
    fake.answers["TextService/StreamGenerate"] = endless
    process = start(fake, "text", "stream-generate", "Hi")
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    process.stdout.close()
    assert process.wait(PATIENCE) == 141
    assert process.stderr is not None and process.stderr.read() == b""
    process.stderr.close()
    assert endless.left.wait(PATIENCE)


@pytest.mark.parametrize("command", ["text generate Hi", "text stream-generate Hi", "text generate Hi --json"])
def test_a_full_disk_is_told(fake: Fake, command: str) -> None:
    answer_in_japanese(fake)
    done = shell(fake, f"{command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, b"[Errno 28] No space left on device\n")


def test_streams_may_be_closed_and_encodings_narrow(fake: Fake) -> None:
    answer_in_japanese(fake)
    done = shell(fake, "text generate - <&- >&-")
    assert (done.returncode, done.stderr) == (0, b"")
    done = shell(fake, "text generate Hi", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, b"\\u65e5\\u672c\n")


def test_the_version_needs_nothing_of_what_shows_help_or_metrics() -> None:
    program = """
import sys
from sensorium.cli import main
try:
    main()
finally:
    print(sorted({"prometheus_client", "rich.markdown", "typer.rich_utils"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program, "--version"], capture_output=True, cwd=ROOT)
    assert done.stdout.decode().splitlines() == [f"sensorium {sensorium.__version__}", "[]"]
