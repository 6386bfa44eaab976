"""Samples the memory of processes over time and decides whether it grows."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


@dataclass
class Memory:
    """Samples of one process in MiB, evenly spaced over a run."""

    name: str
    samples: list[float] = field(default_factory=list[float])

    @property
    def quarters(self) -> tuple[float, float]:
        """Medians of the second and of the last quarter; the first quarter fills caches and is ignored."""
        quarter = len(self.samples) // 4
        return median(self.samples[quarter : 2 * quarter]), median(self.samples[-quarter:])

    @property
    def growth(self) -> float:
        """Relative growth from the second to the last quarter."""
        early, late = self.quarters
        return late / early - 1
