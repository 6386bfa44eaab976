"""Child processes that write their output to a log file."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

STOP_SECONDS = 20.0
"""Time for a child to drain before it is killed."""


class Program:
    """A running program that writes its output to a file. It ends when `stop` is called."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._file: IO[bytes] = log.open("wb")
        # In its own session, so that Ctrl-C reaches only the parent, which then stops the children in order.
        self._process = subprocess.Popen(
            command,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def last_lines(self, count: int = 15) -> str:
        """Returns the last `count` lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> int:
        """Sends SIGTERM, waits while it drains (then kills it), and returns its exit code."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._file.close()
        return code


class ChildProcess(Program):
    """A running `python -m MODULE …`."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        super().__init__(name, [sys.executable, "-m", module, *arguments], log)
