"""The device memory of the rank that has the least, so that all ranks choose the same sizes."""

from collections.abc import Callable

from services.engine.device.memory import DeviceMemory, MemoryReading
from services.engine.parallel.group import RankGroup


class AgreedMemory:
    """A DeviceMemory with the least memory of any rank. All ranks have to call it in the same order."""

    def __init__(self, own: DeviceMemory, group: RankGroup) -> None:
        self._own = own
        self._group = group
        self.measures = own.measures

    def read(self) -> MemoryReading:
        """See DeviceMemory."""
        own = self._own.read()
        total, free = min(self._group.each(own.total)), min(self._group.each(own.free))
        return MemoryReading(total, free, max(self._group.each(own.held)))

    def peak(self, run: Callable[[], object]) -> int:
        """See DeviceMemory."""
        return max(self._group.each(self._own.peak(run)))
