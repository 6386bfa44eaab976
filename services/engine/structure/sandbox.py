"""Runs the trial process, which checks whether a structure compiles, and restarts it if it died."""

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
    """The trial process. Belongs to one thread. The process is started on first use and ends when its stdin closes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def try_out(self, wanted: StructureFormat) -> tuple[str, int]:
        """Returns the structure's grammar, and the memory in bytes that compiling it took.

        Raises:
            StructureRefused: it does not compile within the limits.
            StructureUndecided: the trial did not end in time on this machine.
        """
        question = json.dumps([wanted.kind.value, wanted.texts])
        # A process killed from outside says nothing about the structure, so the question is repeated once.
        line = self._ask(question) or self._ask(question)
        answer = json.loads(line)
        if "reason" in answer:
            raise StructureRefused(answer["reason"])
        return answer["grammar"], answer["bytes"]

    def _ask(self, question: str) -> str:
        """Returns the line that the process answers, or an empty string if it died."""
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
                with suppress(BrokenPipeError):  # unwritten data has no reader any more
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
                # Ctrl-C should reach only the service, which ends this process itself.
                start_new_session=True,
                env=_environment(),
            )
        return self._process


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    # One malloc arena: every further one reserves address space that counts against the memory limit.
    return {**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "1"}
