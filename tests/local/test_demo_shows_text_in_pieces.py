import os
import re
import subprocess
import sys
import time
from pathlib import Path

from local.exhibits.tour import EXHIBITS
from local.fleet import fleet

ROOT = Path(__file__).parent.parent.parent


def test_the_demo_streams_answers_asks_every_task_and_exits_0() -> None:
    """Text arrives in pieces: the answer's end comes later than its beginning, and in more than one read."""
    reads: list[tuple[float, str]] = []
    command = [sys.executable, "-m", "local", "demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as demo:
        assert demo.stdout is not None
        while data := os.read(demo.stdout.fileno(), 65536):
            reads.append((time.monotonic(), data.decode(errors="replace")))
    output = "".join(text for _, text in reads)
    assert demo.returncode == 0, output
    answer = re.search(r"continuous batching\?\n+model\s+(.+?)\n\n", output, re.IGNORECASE | re.DOTALL)
    assert answer, output
    assert len(answer[1].split()) > 5
    pieces = [text for _, text in reads if text.strip() and text.strip() in answer[1]]
    assert len(pieces) > 3, "the answer came in one piece"
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
