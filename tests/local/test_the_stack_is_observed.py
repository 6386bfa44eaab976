import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from k8s.monitoring.boards import BOARDS

ROOT = Path(__file__).parent.parent.parent


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.read().decode()


@pytest.mark.timeout(1800)
def test_boards_are_served_until_ctrl_c() -> None:
    command = [sys.executable, "-m", "local", "observe", "--only", "chat", "--free-ports"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as observed:
        assert observed.stdout is not None
        output = ""
        while "Ctrl-C" not in output:
            line = observed.stdout.readline()
            assert line, output
            output += line
        children = Path(f"/proc/{observed.pid}/task/{observed.pid}/children").read_text().split()
        boards = re.findall(r"(http://\S+)\s+the boards", output)[0]
        for board in BOARDS:
            assert f'<img src="/{board.name}.svg"' in get(f"{boards}/{board.name}")
        end = time.monotonic() + 6000
        while "<polyline" not in get(f"{boards}/gateway.svg"):
            assert time.monotonic() < end, "no line is drawn"
            time.sleep(0.5)
        observed.send_signal(signal.SIGINT)
        rest = observed.stdout.read()
    assert observed.returncode == 0, rest
    assert "Stopping." in rest
    assert len(children) >= 3
    # The fork server ends by itself after its parent has ended.
    end = time.monotonic() + 600
    while left := [pid for pid in children if alive(int(pid))]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
