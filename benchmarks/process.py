"""Runs a measured program: pinned to a core, in its own session, with its output in a file."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

SERVER_CORE = 0
LOAD_CORE = 1
START_SECONDS = 600.0
STOP_SECONDS = 15.0
ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class SystemFailed(Exception):
    """Raised when a program failed or did not become ready. The message has the end of its output."""


class Process:
    """A program pinned to `core` (by default the servers' core; None: any) with one thread for arithmetic.

    `stop` ends its whole process group. Its output goes to `log`; with `answers`, standard output is a pipe that
    `answers` and `output` read.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        answers: bool = False,
        core: int | None = SERVER_CORE,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._file: IO[bytes] = log.open("wb")
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, mine if core is None else {core})  # a child inherits its parent's affinity
        try:
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else self._file,
                stderr=self._file,
                start_new_session=True,
                env=os.environ | ONE_THREAD | dict(environment or {}),
            )
        finally:
            os.sched_setaffinity(0, mine)

    def wait(self, ready: Callable[[], bool]) -> None:
        """Waits until `ready` is true. Raises SystemFailed if the program ends first, or after `START_SECONDS`."""
        give_up = time.monotonic() + START_SECONDS
        while not ready():
            if self.popen.poll() is not None or time.monotonic() > give_up:
                raise SystemFailed(f"{self.popen.args!r} did not get ready:\n{self.last_lines()}")
            time.sleep(0.2)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Writes a line of JSON to its standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(message).encode() + b"\n")
        self.popen.stdin.flush()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yields the JSON objects that it prints, one a line, until it ends. Skips the output of libraries."""
        assert self.popen.stdout is not None
        while line := self.popen.stdout.readline():
            if line.startswith(b"{"):
                yield json.loads(line)

    def output(self) -> list[str]:
        """Waits for its end and returns the lines it printed. Raises SystemFailed if it failed or printed none."""
        assert self.popen.stdout is not None
        lines = self.popen.stdout.read().decode().splitlines()
        if self.popen.wait() or not lines:
            raise SystemFailed(f"{self.popen.args!r} failed:\n{self.last_lines()}")
        return lines

    def processor_seconds(self) -> float:
        """Returns the CPU seconds of all its threads so far, ended ones included."""
        user, system = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS

    def last_lines(self, count: int = 12) -> str:
        """Returns the last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> None:
        """Ends the program (SIGTERM), then kills what is left of its process group. May be called again."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_SECONDS)
        self.kill()
        self.popen.wait()
        for opened in (self.popen.stdin, self.popen.stdout, self._file):
            if opened is not None:
                opened.close()

    def kill(self) -> None:
        """Kills its process group without waiting."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)
