"""An LRU cache of text embeddings: most requests of a caller repeat the same labels."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class KnownText:
    """The embedding of a text, and its number of tokens."""

    vector: Tensor
    token_count: int


class KnownTexts:
    """An LRU cache of at most `most` texts. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, KnownText] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> KnownText | None:
        """Returns the cached entry of a text, or None."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
            return self._known.get(text)

    def put(self, text: str, known: KnownText) -> None:
        """Adds an entry, and drops the least recently used ones beyond the limit."""
        with self._lock:
            self._known[text] = known
            self._known.move_to_end(text)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
