"""A cache of media from earlier prompts with their features, of bounded size."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

from services.engine.generation.running.media import Medium


class MediaCache:
    """Finds media by their digests. Called in preprocessing threads and in the engine's.

    Media of requests that have not ended are found whatever the bound, whether they are encoded or not.
    """

    def __init__(self, most_bytes: int, looked_up: Callable[[bool], object] = bool) -> None:
        """Keeps features of at most `most_bytes` bytes: the least recently used go first.

        `looked_up` is called with whether the medium was known, at each lookup.
        """
        self._looked_up = looked_up
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[bytes, Medium] = WeakValueDictionary()
        self._kept: OrderedDict[bytes, Medium] = OrderedDict()
        self.bytes = 0
        """The size of the features kept."""

    def find(self, digest: bytes) -> Medium | None:
        """Returns the medium of that digest, if it is known."""
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
            found = self._known.get(digest)
        self._looked_up(found is not None)
        return found

    def add(self, medium: Medium) -> Medium:
        """Adds a medium and returns it, or the one of equal content that was added before."""
        with self._lock:
            return self._known.setdefault(medium.digest, medium)

    def keep(self, medium: Medium) -> None:
        """Keeps the features of a medium for later requests."""
        with self._lock:
            size = _bytes(medium)
            if medium.digest in self._kept or size > self._most_bytes:
                return
            self._known[medium.digest] = self._kept[medium.digest] = medium
            self.bytes += size
            while self.bytes > self._most_bytes:
                _, oldest = self._kept.popitem(last=False)
                self.bytes -= _bytes(oldest)


def _bytes(medium: Medium) -> int:
    tensors = [medium.features, *medium.inputs.values()]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors if tensor is not None)
