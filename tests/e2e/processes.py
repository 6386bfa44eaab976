"""Services as processes of their own, as an operator starts them."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.forks import Forked
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent


class Logged:
    """A process that has told in its log where it listens."""

    @property
    def log(self) -> str:
        """What it has printed."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """Where it listens."""
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", self.log)
        assert found, self.log
        return found[1]

    @property
    def ready(self) -> bool:
        """Whether it has said that it serves."""
        return re.search(r"sensorium\.rpc .*\bready$", self.log, re.MULTILINE) is not None


class Server(Logged):
    """A `python -m MODULE …` with ports of its own choice, which are read from its log. `within` runs it.

    If `forked`, it starts in less time, and ends like a process of multiprocessing.
    """

    def __init__(
        self, log: Path, module: str, *arguments: str, within: Sequence[str] = (), forked: bool = False
    ) -> None:
        self._log = log
        command = [*within, sys.executable, "-m", module, *arguments, "--port", "0", "--metrics-port", "0"]
        with log.open("wb") as output:
            streams = {"stdout": output, "stderr": output, "env": os.environ, "cwd": ROOT}
            self.process = Forked(command, **streams) if forked else subprocess.Popen(command, **streams)

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None


@asynccontextmanager
async def server(log: Path, module: str, *arguments: str, **options: Any) -> AsyncIterator[Server]:
    """Runs a process until it is ready, and ends it by its id if it has not ended by itself."""
    running = Server(log, module, *arguments, **options)
    try:
        await until(lambda: running.ready or running.ended)
        assert not running.ended, running.log
        yield running
    finally:
        if not running.ended:
            running.process.kill()
        running.process.wait()
