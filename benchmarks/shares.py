"""What the threads of a system take of a processor: the engine's, the event loops', and all others."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Process

_ENGINE = "engine"
_SET_NAME = 15


@dataclass(frozen=True)
class Shares:
    """Seconds of processor, by who took them."""

    engine: float = 0.0
    loop: float = 0.0
    others: float = 0.0

    def __sub__(self, before: "Shares") -> "Shares":
        return Shares(self.engine - before.engine, self.loop - before.loop, self.others - before.others)

    def __truediv__(self, count: int) -> "Shares":
        return Shares(self.engine / count, self.loop / count, self.others / count)

    @property
    def all(self) -> float:
        """Of all together."""
        return self.engine + self.loop + self.others


def name_engine() -> None:
    """Lets the system know the calling thread as the engine's."""
    ctypes.CDLL(None).prctl(_SET_NAME, _ENGINE.encode(), 0, 0, 0)


def shares_of(processes: Sequence[Process]) -> Shares:
    """Returns what was taken so far; a loop runs in the first thread of its process."""
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
