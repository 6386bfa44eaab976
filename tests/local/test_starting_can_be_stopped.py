import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local import nursery
from local.fleet import fleet
from local.stack import Ports, Stack, StackFailed
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
from local import nursery
from local.__main__ import app

nursery._PRELOADED[1:] = ["tests.fakes.endless_import"]  # as torch on a slow machine
app()
"""


@pytest.mark.parametrize("arguments", [["observe", "--only", "chat", "--free-ports"], ["boards"]])
def test_ctrl_c_while_services_start_ends_them_quietly(arguments: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as stack:
        assert stack.stdout is not None
        assert stack.stdout.readline() == b"Starting.\n"
        time.sleep(0.5)  # mostly, the fork server imports now
        os.killpg(stack.pid, signal.SIGINT)
        rest, _ = stack.communicate(timeout=PATIENCE)
    assert (stack.returncode, rest) == (0, b"")


def test_a_fork_server_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: object) -> None:
        raise EOFError

    monkeypatch.setattr(nursery.ForkServerProcess, "start", killed)
    with pytest.raises(StackFailed, match="has ended"), Stack(Ports.free(1), fleet()[:1]):
        raise AssertionError("nothing runs")
