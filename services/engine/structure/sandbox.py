"""Asks the trial process whether a structure compiles, and starts it again should it be gone."""

import json
import os
import selectors
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from services.engine.structure.format import StructureFormat, StructureRefused, StructureUndecided
from services.engine.structure.limits import TRIAL_WALL_SECONDS

_ROOT = Path(__file__).parents[3]


class Sandbox:
    """Belongs to one thread. The process starts with the first question and ends with its input."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def try_out(self, wanted: StructureFormat) -> tuple[str, int]:
        """Returns the structure's grammar, and the bytes of memory that compiling it took.

        Raises:
            StructureRefused: it does not compile within the limits, or, StructureUndecided, that could not be seen.
        """
        question = json.dumps([wanted.kind.value, wanted.texts])
        # A process that was ended from outside says nothing of the structure: the next is asked again.
        line = self._ask(question) or self._ask(question)
        answer = json.loads(line)
        if "reason" in answer:
            raise StructureRefused(answer["reason"])
        return answer["grammar"], answer["bytes"]

    def _ask(self, question: str) -> str:
        """Returns the answer; empty if the process ended."""
        process = self._running()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            self.close()
            return ""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(TRIAL_WALL_SECONDS):
                self.close()
                raise StructureUndecided("takes too long to compile on this machine now")
        if not (line := process.stdout.readline()):
            self.close()
        return line

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(BrokenPipeError):  # what was not written has no reader
                    assert pipe
                    pipe.close()
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
                # An interrupt from the keyboard is for the service, which ends this process itself.
                start_new_session=True,
                env=_environment(),
            )
        return self._process


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    # One arena: each more reserves address space that counts against the bound.
    return {**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "1"}
