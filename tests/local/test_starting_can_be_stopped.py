import os
import signal
import subprocess
import sys
import time

import pytest

PATIENCE = 400


@pytest.mark.parametrize("arguments", [["observe", "--only", "chat", "--free-ports"], ["boards"]])
def test_ctrl_c_while_services_start_ends_them_quietly(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "local", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as stack:
        assert stack.stdout is not None
        assert stack.stdout.readline() == b"Starting.\n"
        time.sleep(0.5)  # the fork server runs now and imports torch
        os.killpg(stack.pid, signal.SIGINT)
        rest, _ = stack.communicate(timeout=PATIENCE)
    assert (stack.returncode, rest) == (0, b"")
