"""Runs every example of docs/examples.md unchanged, and the demo, against all embedded models."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Event

import pytest

from local import demo
from local.__main__ import app
from local.exhibits.tour import EXHIBITS
from local.fleet import CHECKOUT, Member, fleet
from local.stack import Ports, Stack
from tests.local import grpcurl

PAGE = (CHECKOUT / "docs/examples.md").read_text()
USUAL = "127.0.0.1:50050"
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
PREAMBLE, *PROGRAMS = [block for kind, block in BLOCKS if kind == "python"]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    members = fleet()
    with Stack(Ports.free(len(members)), members) as stack:
        for _ in stack.wait_ready():
            pass
        yield stack


@pytest.fixture
def target(stack: Stack) -> str:
    return stack.target


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `grpcurl` that prints its arguments, each followed by a zero."""
    folder = tmp_path_factory.mktemp("tools")
    script = folder / "grpcurl"
    script.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.rpartition(" ")[2])
def test_a_command_is_answered(command: str, target: str, tools: Path) -> None:
    """A shell reads the command; what behaves like the real grpcurl runs here with the arguments that it would get."""
    assert USUAL in command
    done = subprocess.run(
        ["bash", "-c", command.replace(USUAL, target)],
        cwd=CHECKOUT,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    *arguments, rest = done.stdout.split("\0")
    assert not rest
    shown = "\n".join(grpcurl.printed(arguments))
    assert "sensorium.v1." in shown if command.endswith(" list") else '"' in shown


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.split("\n")[0][:40])
def test_a_program_prints_what_its_comments_say(
    program: str, target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    scope: dict[str, object] = {}
    exec(PREAMBLE.replace(USUAL, target), scope)
    try:
        exec(program, scope)
    finally:
        scope["client"].close()
    printed = capsys.readouterr().out
    assert printed.strip()
    for expected in re.findall(r"^ *print\(.*\)  # (.+)$", program, re.MULTILINE):
        assert expected in printed.splitlines()


class Reads(io.StringIO):
    """What a reader of a pipe gets, flush by flush."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[str] = []

    def flush(self) -> None:
        self.each.append(self.getvalue()[sum(map(len, self.each)) :])


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restores what happens on the signals that a command takes for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_the_demo_streams_answers_asks_every_task_and_stops(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the stack that runs already in place of its own."""

    def started(ports: Ports, members: list[Member], stop: Event) -> AbstractContextManager[Stack]:
        assert len(ports.services) == len(members) == len(stack.members) and not stop.is_set()
        return nullcontext(stack)

    stops: list[bool] = []
    monkeypatch.setattr(demo, "Stack", started)
    monkeypatch.setattr(stack, "stop", lambda: stops.append(True))
    reads = Reads()
    monkeypatch.setattr(sys, "stdout", reads)
    app(["demo"], standalone_mode=False)
    output = reads.getvalue()
    assert stops and output.endswith("README.md shows how to call it.\n")
    answer = re.search(r"continuous batching\?\n+model\s+(.+?)\n\n", output, re.IGNORECASE | re.DOTALL)
    assert answer, output
    assert len(answer[1].split()) > 5
    assert sum(bool(text.strip()) and text.strip() in answer[1] for text in reads.each) > 3, "it came in one piece"
    assert "Ada" in output.rpartition("What is my name?")[0], output
    for column in ("first token", "tokens/s", "endpoint"):
        assert column in output
    assert re.search(r"127\.0\.0\.1:\d+", output)
    right = re.search(r"(\d+) of (\d+) right", output)
    assert right, output
    asked = [member.name for member in fleet() if member.name in EXHIBITS]
    assert len(asked) > 10
    assert int(right[2]) >= 2 * len(asked)
    assert int(right[1]) >= 0.85 * int(right[2]), output
