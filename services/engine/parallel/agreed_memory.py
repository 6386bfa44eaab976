"""The memory of all ranks' devices as that of one: what is sized by it has the same size on all."""

from collections.abc import Callable

from services.engine.device.memory import DeviceMemory, MemoryReading
from services.engine.parallel.group import RankGroup


class AgreedMemory:
    """A DeviceMemory: that of the rank with the least of it. All ranks ask it in the same order."""

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
