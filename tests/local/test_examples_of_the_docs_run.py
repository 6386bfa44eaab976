"""Runs every example of docs/examples.md unchanged against the embedded models."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.fleet import CHECKOUT, fleet
from local.stack import Ports, Stack

PAGE = (CHECKOUT / "docs/examples.md").read_text()
USUAL = "127.0.0.1:50050"
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
PREAMBLE, *PROGRAMS = [block for kind, block in BLOCKS if kind == "python"]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    members = fleet()
    with Stack(Ports.free(len(members)), members) as stack:
        for _ in stack.wait_ready():
            pass
        yield stack.target


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `grpcurl` that behaves like the real one."""
    folder = tmp_path_factory.mktemp("tools")
    script = folder / "grpcurl"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("grpcurl.py")} "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.rpartition(" ")[2])
def test_a_command_is_answered(command: str, target: str, tools: Path) -> None:
    assert USUAL in command
    done = subprocess.run(
        ["bash", "-c", command.replace(USUAL, target)],
        cwd=CHECKOUT,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "sensorium.v1." in done.stdout if command.endswith(" list") else '"' in done.stdout


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
