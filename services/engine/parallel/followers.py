"""The processes of all ranks but the first."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

_END_SECONDS = 5.0
"""For one to end by itself."""


class Followers:
    """Processes that end when this one does, however it ends: each reads a pipe that only this one holds."""

    def __init__(self, module: str, letters: Sequence[str]) -> None:
        """Starts `python -m module` for each rank but the first, and writes its letter to its standard input."""
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
        """What has become of one that has ended; nothing while none has."""
        for number, process in enumerate(self._processes, 1):
            if (code := process.poll()) is not None:
                return f"Rank {number} has ended with code {code}; its log says why."
        return ""

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(process.poll() is not None for process in self._processes)

    def close(self) -> None:
        """Ends them: by themselves if they can."""
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
    """Returns the letter of the process that started this one, and lets this one end when that does."""
    letter = sys.stdin.readline()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(0)  # whatever it waits for, it waits in vain

    threading.Thread(target=wait, name="life-line", daemon=True).start()
    return letter
