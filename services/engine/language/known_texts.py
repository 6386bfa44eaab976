"""The vectors of texts that came before: most requests of a caller bring the same labels."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class KnownText:
    """What a text is embedded as."""

    vector: Tensor
    token_count: int


class KnownTexts:
    """Keeps those asked for last, at most so many. For any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, KnownText] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> KnownText | None:
        """Returns what is known of a text."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
            return self._known.get(text)

    def put(self, text: str, known: KnownText) -> None:
        """Keeps what a text is embedded as; what was asked for least lately makes room."""
        with self._lock:
            self._known[text] = known
            self._known.move_to_end(text)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
