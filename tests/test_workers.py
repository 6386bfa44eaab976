import subprocess
import sys

from tests.forks import Forked

LINE = """
import atexit, os, subprocess, sys
from tests.forks import Forked

atexit.register(print, "cleaned up", flush=True)
other = Forked([sys.executable, "-m", "tests.worker"], stdin=subprocess.PIPE)
with open(f"/proc/{other.pid}/stat") as stat:
    print(os.getppid(), stat.read().rpartition(")")[2].split()[1])
other.kill()
other.wait()
"""


def test_a_worker_forks_from_the_process_that_forked_it_and_cleans_up_as_it_ends() -> None:
    worker = Forked([sys.executable, "-m", "tests.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdin is not None
    with worker.stdin as stdin, worker.stdout as stdout:
        stdin.write(f"{LINE!r}\n".encode())  # as execnet begins
        stdin.flush()
        mine, others, *rest = stdout.read().split()
    assert mine == others
    assert rest == [b"cleaned", b"up"]
    assert worker.wait() == 0
