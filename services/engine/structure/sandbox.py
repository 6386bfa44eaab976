"""Asks the trial process whether a structure compiles, and starts it again should it be gone."""

import json
import os
import selectors
import subprocess
import sys
from pathlib import Path

from services.engine.structure.format import StructureFormat, StructureRefused
from services.engine.structure.limits import TRIAL_WALL_SECONDS

_ROOT = Path(__file__).parents[3]


class Sandbox:
    """Belongs to one thread. The process starts with the first question and ends with its input."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def try_out(self, wanted: StructureFormat) -> tuple[str, int]:
        """Returns the structure's grammar, and the bytes of memory that compiling it took.

        Raises:
            StructureRefused: it does not compile within the limits.
        """
        process = self._running()
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps([wanted.kind.value, wanted.texts]) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(TRIAL_WALL_SECONDS):
                self.close()
                raise StructureRefused("takes too long to compile on this machine now")
        answer = json.loads(process.stdout.readline())
        if "reason" in answer:
            raise StructureRefused(answer["reason"])
        return answer["grammar"], answer["bytes"]

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.engine.structure.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                # One arena: each more reserves address space that counts against the bound.
                env={**os.environ, "PYTHONPATH": str(_ROOT), "MALLOC_ARENA_MAX": "1"},
            )
        return self._process
