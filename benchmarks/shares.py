"""Measures CPU time by kind of thread: engine threads, event loops, and all others."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Process

_ENGINE = "engine"
_SET_NAME = 15


@dataclass(frozen=True)
class Shares:
    """CPU seconds by kind of thread."""

    engine: float = 0.0
    loop: float = 0.0
    others: float = 0.0

    def __sub__(self, before: "Shares") -> "Shares":
        return Shares(self.engine - before.engine, self.loop - before.loop, self.others - before.others)

    def __truediv__(self, count: int) -> "Shares":
        return Shares(self.engine / count, self.loop / count, self.others / count)

    @property
    def all(self) -> float:
        """The sum of all three."""
        return self.engine + self.loop + self.others


def name_engine() -> None:
    """Names the calling thread for the kernel, so that `shares_of` recognizes the engine's thread."""
    ctypes.CDLL(None).prctl(_SET_NAME, _ENGINE.encode(), 0, 0, 0)


def shares_of(processes: Sequence[Process]) -> Shares:
    """Reads the CPU seconds so far. The event loop is taken to be the main thread of each process."""
    engine = loop = others = 0.0
    for process in processes:
        for task in Path(f"/proc/{process.popen.pid}/task").iterdir():
            taken = int((task / "schedstat").read_text().split()[0]) / 1e9
            if (task / "comm").read_text().strip() == _ENGINE:
                engine += taken
            elif int(task.name) == process.popen.pid:
                loop += taken
            else:
                others += taken
    return Shares(engine, loop, others)
