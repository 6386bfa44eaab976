"""How much a peer may send before somebody has taken what came."""


class Window:
    """The receiving window of a stream or of a connection."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._taken = 0

    def take(self, size: int) -> bool:
        """Uses up so many bytes. Returns False where there were not as many."""
        self._left -= size
        self._taken += size
        return self._left >= 0

    def give_back(self) -> int:
        """Returns how many bytes the peer is to be told it may send again; 0 while that is not worth a frame."""
        size = self._taken
        if size < self._size // 2:
            return 0
        self._left += size
        self._taken = 0
        return size
