"""Runs the parts of a day one after another, each within its own time, and writes all results as they come."""

import contextlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.day.orphans import adopt, end_orphans
from benchmarks.gpu.day.plan import MINUTES, Part
from benchmarks.process import Process

_LEAST = 15.0
"""Fewest seconds with which a part is started."""
_AT_THE_END = 20.0
"""Seconds that are reserved for ending the last part."""
_TAIL = 60
"""Last lines of a part's log that are kept with its figures."""
_PAUSE = 0.1
"""Seconds between two checks of a part."""
_PLAINLY = {"PYTHONUNBUFFERED": "1", "TYPER_STANDARD_TRACEBACK": "1"}
"""Environment with which logs are unbuffered, and tracebacks are plain."""


@dataclass
class Outcome:
    """The result of a part."""

    name: str
    command: list[str]
    limit: float
    """Seconds that it was allowed; 0 if too few were left."""
    status: str = "running"
    """Or "done", "failed", "cut off", "interrupted", "not begun"."""
    seconds: float = 0.0
    figures: Any = None
    """Its JSON, as far as it was written."""
    tail: str = ""
    """The last lines of its log."""


@dataclass
class Course:
    """Runs a day's parts and writes their results to a folder. `summary` renders the page summary.md."""

    folder: Path
    minutes: float
    summary: Callable[[list[Outcome], Path], str]
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    _stopped: bool = False

    def run(self, parts: list[Part]) -> None:
        """Runs the parts until they are done, the time is over, or a signal stops it. Overwrites earlier results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in (self._logs, self._tests):
            old.write_bytes(b"")
        adopt()
        # The handler raises nothing: an exception inside of Popen would leave its lock held.
        told_before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        ends = time.monotonic() + 60 * self.minutes - _AT_THE_END
        for part in parts:
            if not self._stopped:
                left = ends - time.monotonic()
                limit = min(part.seconds * max(1.0, self.minutes / MINUTES), left)
                self._run(part, limit if left > _LEAST else 0.0)
        for number, handler in told_before.items():
            signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _run(self, part: Part, limit: float) -> None:
        json_file, log = self.folder / "running.json", self.folder / "running.log"
        json_file.unlink(missing_ok=True)
        command = [sys.executable, *part.filled(limit, json_file.absolute(), self._tests.absolute())]
        outcome = Outcome(part.name, command, limit)
        self.outcomes.append(outcome)
        if not limit:
            outcome.status = "not begun"
            self._write()
            return
        print(f"{part.name}: up to {limit:.0f} s", flush=True)
        began = time.monotonic()
        process = Process(command, log, _PLAINLY, core=None)
        outcome.status = self._wait(process, began + limit)
        outcome.seconds = time.monotonic() - began
        self._take(outcome, json_file, log)
        self._write()  # before the process is stopped, since there may be no time afterwards
        process.stop()
        end_orphans()
        self._take(outcome, json_file, log)
        self._write()
        self._pack(outcome, log)
        print(f"{part.name}: {outcome.status} after {outcome.seconds:.0f} s", flush=True)

    def _wait(self, process: Process, ends: float) -> str:
        while process.popen.poll() is None:
            if self._stopped or time.monotonic() > ends:
                return "interrupted" if self._stopped else "cut off"
            time.sleep(_PAUSE)
        return "failed" if process.popen.returncode else "done"

    def _take(self, outcome: Outcome, json_file: Path, log: Path) -> None:
        outcome.tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # not written, or not to its end
            outcome.figures = json.loads(json_file.read_text())

    def _pack(self, outcome: Outcome, log: Path) -> None:
        """Appends the part's log to the file with all logs."""
        with self._logs.open("ab") as file:
            file.write(f"\n===== {outcome.name}: {outcome.status}, {outcome.seconds:.0f} s =====\n".encode())
            file.write(log.read_bytes())
        log.write_bytes(b"")

    def _write(self) -> None:
        told = [asdict(outcome) for outcome in self.outcomes]
        (self.folder / "day.json").write_text(json.dumps(told, indent=1) + "\n")
        try:
            page = self.summary(self.outcomes, self._tests)
        except Exception:  # unexpected figures must not end the day
            page = f"The figures are in day.json. No summary:\n\n{traceback.format_exc()}"
        (self.folder / "summary.md").write_text(page)

    @property
    def _logs(self) -> Path:
        return self.folder / "logs.txt"

    @property
    def _tests(self) -> Path:
        return self.folder / "tests.jsonl"
