"""Starts and ends the processes of all ranks but the first."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

_END_SECONDS = 5.0
"""How long `close` waits for a process before it kills it."""


class Followers:
    """Processes that end when this one does, however it ends: each reads from a pipe whose other end is closed then."""

    def __init__(self, module: str, letters: Sequence[str]) -> None:
        """Starts `python -m module` for each rank but the first, and writes its letter (its parameters) to its standard
        input.
        """
        self._processes = [
            subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                [sys.executable, "-m", module], stdin=subprocess.PIPE, env=os.environ | {"LOCAL_RANK": str(number)}
            )
            for number in range(1, len(letters) + 1)
        ]
        for process, letter in zip(self._processes, letters, strict=True):
            assert process.stdin is not None
            process.stdin.write(letter.encode() + b"\n")
            process.stdin.flush()

    @property
    def lost(self) -> str:
        """Says which process has ended and how; an empty string while all run."""
        for number, process in enumerate(self._processes, 1):
            if (code := process.poll()) is not None:
                return f"Rank {number} has ended with code {code}; its log says why."
        return ""

    @property
    def ended(self) -> int:
        """The number of processes that have ended."""
        return sum(process.poll() is not None for process in self._processes)

    def close(self) -> None:
        """Closes the pipes, so that the processes end, and kills those that do not end in time."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def live_while_led() -> str:
    """Returns the letter of the process that started this one, and starts a thread that ends this process with that
    one.
    """
    letter = sys.stdin.readline()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(0)  # a main thread that waits for the first rank would never return

    threading.Thread(target=wait, name="life-line", daemon=True).start()
    return letter
