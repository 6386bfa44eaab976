"""Describes the machine, and measures other load on it during a measurement."""

import importlib.metadata
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
FOREIGN_LIMIT = 0.2
"""Cores that other processes may use before a measurement is marked as disturbed."""


@dataclass(frozen=True)
class CpuTime:
    """CPU seconds used since boot, and when they were read (`at`, on `time.perf_counter`)."""

    at: float
    busy: float
    own: float
    """Those of the measured processes and of this one."""


def cpu_time(sessions: set[int]) -> CpuTime:
    """Reads the CPU time so far. `own` counts this process and those of the given sessions."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _, _, interrupts, soft, steal, *_ = fields
    own = sum(_ticks(folder, sessions) for folder in Path("/proc").glob("[0-9]*"))
    return CpuTime(time.perf_counter(), (user + nice + system + interrupts + soft + steal) / _TICKS, own / _TICKS)


def foreign_cores(before: CpuTime, after: CpuTime) -> float:
    """Returns the mean number of cores that others used between two readings, steal time included."""
    seconds = after.at - before.at
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / seconds if seconds > 0 else 0.0


def machine_class() -> str:
    """Returns the number of cores and the CPU model, without the machine's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    kinds = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    flags = next((line for line in lines if line.startswith("flags")), "")
    wide = "AVX-512 with bf16" if "avx512_bf16" in flags else "AVX-512" if "avx512f" in flags else "AVX2"
    return f"{os.cpu_count()} cores of {' and '.join(sorted(kinds)) or platform.machine()} ({wide})"


@dataclass(frozen=True)
class Setting:
    """The conditions under which a result was measured."""

    date: str
    machine: str
    versions: Mapping[str, str]
    command: str

    @classmethod
    def now(cls, module: str, peers: Mapping[str, str] | None = None) -> Self:
        """Returns the setting of this process, which runs `module`, with the versions of peers."""
        today = datetime.now(UTC).date().isoformat()
        command = shlex.join(["python", "-m", module, *sys.argv[1:]])
        return cls(today, machine_class(), versions() | dict(peers or {}), command)


def versions() -> dict[str, str]:
    """Returns the versions of the main packages in this environment."""
    names = ("sensorium", "torch", "transformers", "grpcio")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "from the checkout"
    return found | {"python": platform.python_version()}


def _ticks(folder: Path, sessions: set[int]) -> int:
    try:
        fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0  # the process ended meanwhile
    mine = int(folder.name) == os.getpid() or int(fields[3]) in sessions
    return int(fields[11]) + int(fields[12]) if mine else 0
