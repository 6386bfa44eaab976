"""An LRU cache of compiled structures, bounded in entries and bytes."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from services.engine.structure.format import StructureFormat
from services.engine.structure.structure import Structure

_REFUSAL_BYTES = 1024


@dataclass(frozen=True)
class Refusal:
    """A cached result for a structure that does not compile."""

    reason: str


class StructureCache:
    """Compiled structures and refusals by their format. The least recently used are dropped. Thread-safe."""

    def __init__(self, *, entries: int = 256, size_bytes: int = 256 << 20) -> None:
        self._entries = entries
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._found: OrderedDict[StructureFormat, Structure | Refusal] = OrderedDict()

    def get(self, wanted: StructureFormat) -> Structure | Refusal | None:
        """Returns the cached result. None: the structure must be compiled, or recompiled because it grew too large."""
        with self._lock:
            found = self._found.get(wanted)
            if found is None:
                return None
            if isinstance(found, Structure):
                if found.failure:
                    found = self._found[wanted] = Refusal(found.failure)
                elif found.spent:
                    del self._found[wanted]
                    return None
            self._found.move_to_end(wanted)
            return found

    def put(self, wanted: StructureFormat, found: Structure | Refusal) -> None:
        """Adds an entry and drops the least recently used ones beyond the bounds."""
        with self._lock:
            self._found[wanted] = found
            self._found.move_to_end(wanted)
            while len(self._found) > self._entries or (len(self._found) > 1 and self.bytes > self._size_bytes):
                self._found.popitem(last=False)

    @property
    def bytes(self) -> int:
        """An upper bound of the memory that the entries hold."""
        return sum(
            sum(map(len, wanted.texts)) + (found.bytes if isinstance(found, Structure) else _REFUSAL_BYTES)
            for wanted, found in self._found.items()
        )

    def __len__(self) -> int:
        return len(self._found)
