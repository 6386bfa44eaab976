"""Processes forked from one that has imported torch and transformers: they start in a small part of the CPU time.

For tests that are not about the start or the end of a process, which are those of Python's multiprocessing here.
"""

import importlib.util
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from local.nursery import fork

ROOT = Path(__file__).parent.parent

Stream = Any
"""What Popen is given for a standard stream: PIPE, a file, or None for that of this process."""


class Forked:
    """Runs the command `[sys.executable, "-m", MODULE, …]`, with what is used here of `subprocess.Popen`.

    It always has its own session.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        start_new_session: bool = True,
    ) -> None:
        assert (command[0], command[1], start_new_session) == (sys.executable, "-m", True)
        self.args = command
        streams, (self.stdin, self.stdout, _) = zip(
            *(_ends(number, given) for number, given in enumerate((stdin, stdout, stderr))), strict=True
        )
        environment = dict(os.environ if env is None else env)
        self._process = fork(_run, command[2:], str(cwd), environment, streams)
        for each in streams:
            each.close()
        self._asking = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Returns the exit code, or None while it runs."""
        with self._asking:  # only one thread may read it from the fork server
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns the exit code. Raises subprocess.TimeoutExpired."""
        wait([self._process.sentinel], timeout)
        if (code := self.poll()) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _ends(number: int, given: Stream) -> tuple[Connection, Any]:
    """Returns a standard stream in the form in which it reaches a process, and the other end if it is a pipe."""
    if given == subprocess.PIPE:
        reader, writer = Pipe(duplex=False)
        return (writer, _file(reader, "rb")) if number else (reader, _file(writer, "wb"))
    return Connection(os.dup(number if given is None else given.fileno())), None


def _file(end: Connection, mode: str) -> IO[bytes]:
    """Returns the end of a pipe as a file, and closes it."""
    with end:
        return os.fdopen(os.dup(end.fileno()), mode)


def _run(command: Sequence[str], folder: str, environment: Mapping[str, str], streams: Sequence[Connection]) -> None:
    """Runs in the fork what `python -m` would."""
    module, *arguments = command
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, each in enumerate(streams):
        os.dup2(each.fileno(), number)
        each.close()
    sys.stdin = open(0)  # noqa: SIM115 - it is open until the process ends
    sys.argv = [module, *arguments]
    found = importlib.util.find_spec(module)
    if found is not None and found.submodule_search_locations is None:
        sys.modules.pop(module, None)  # it runs as the main module
    runpy.run_module(module, run_name="__main__", alter_sys=True)
