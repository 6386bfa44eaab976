"""The memory of a model's device: its size, who holds it, and how much a piece of work takes."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch


@dataclass(frozen=True)
class MemoryReading:
    """The bytes of a device at one moment."""

    total: int
    free: int
    held: int
    """Bytes held by torch's allocator in this process."""

    @property
    def others(self) -> int:
        """Bytes held by other processes and the driver; never negative."""
        return max(self.total - self.free - self.held, 0)


class DeviceMemory(Protocol):
    """The memory of one device."""

    measures: bool
    """Whether `peak` can be measured on this device."""

    def read(self) -> MemoryReading:
        """Empties torch's cache of free blocks, and returns the memory."""
        ...

    def peak(self, run: Callable[[], object]) -> int:
        """Runs `run`; returns the peak of bytes above those held before. Raises what `run` raises."""
        ...


class CudaMemory:
    """Memory of the GPU that torch sees, which may be a slice of a card (MIG)."""

    measures = True

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def read(self) -> MemoryReading:
        """See DeviceMemory."""
        gc.collect()  # tensors kept alive by an exception's frames
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(self._device)
        return MemoryReading(total, free, torch.cuda.memory_reserved(self._device))

    def peak(self, run: Callable[[], object]) -> int:
        """See DeviceMemory. Counts whole allocator blocks, since those are unavailable to others."""
        before = self.read().held
        torch.cuda.reset_peak_memory_stats(self._device)
        run()
        torch.cuda.synchronize(self._device)
        return torch.cuda.max_memory_reserved(self._device) - before


class HostMemory:
    """Memory of this machine, or of its container if that has a lower limit."""

    measures = False

    def __init__(self, root: Path = Path("/")) -> None:
        """Reads `proc` and `sys/fs/cgroup` below `root`."""
        self._root = root

    def read(self) -> MemoryReading:
        """See DeviceMemory. Counts this process's memory among the others'."""
        total, free = self._machine()
        for limit, used in self._groups():
            total, free = min(total, limit), min(free, max(limit - used, 0))
        return MemoryReading(total, free, 0)

    def peak(self, run: Callable[[], object]) -> int:
        """Runs `run` and returns 0: the peak is not measured on a CPU."""
        run()
        return 0

    def _machine(self) -> tuple[int, int]:
        lines = (self._root / "proc/meminfo").read_text().splitlines()
        found = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
        return found["MemTotal"], found["MemAvailable"]

    def _groups(self) -> list[tuple[int, int]]:
        """Returns limit and use of the control group and of its parents, where these have limits."""
        top, own = self._root / "sys/fs/cgroup", ""
        try:
            lines = (self._root / "proc/self/cgroup").read_text().splitlines()
            own = next((line[3:] for line in lines if line.startswith("0::")), "").strip("/")
        except OSError:
            pass
        place = top / own
        # Inside a container, its own group is often mounted at the top, while the path is the host's.
        places = [place, *place.parents] if place.is_dir() else [top]
        return [found for folder in places if folder.is_relative_to(top) and (found := _limit_of(folder))]


def _limit_of(folder: Path) -> tuple[int, int] | None:
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    # The page cache counts as used, but the kernel frees it on demand.
    return None if limit == "max" else (int(limit), used - int(counts.get("inactive_file", 0)))


def memory_of(device: torch.device) -> DeviceMemory:
    """Returns the memory of a device."""
    return CudaMemory(device) if device.type == "cuda" else HostMemory()
