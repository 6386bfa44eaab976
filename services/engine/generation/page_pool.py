"""Which pages of the KV cache are free and who holds the others. Pure bookkeeping; `kv_cache` holds the tensors."""


class PagePool:
    """Hands out page numbers in [0, page_count). Not thread-safe: it belongs to the engine's thread."""

    def __init__(self, page_count: int, page_size: int) -> None:
        self.page_count = page_count
        self.page_size = page_size
        self._free = list(range(page_count - 1, -1, -1))

    @property
    def free_count(self) -> int:
        """Pages nobody holds."""
        return len(self._free)

    def pages_for(self, token_count: int) -> int:
        """Returns how many pages hold `token_count` tokens."""
        return -(-token_count // self.page_size)

    def grow(self, pages: list[int], token_count: int) -> bool:
        """Extends `pages` until they hold `token_count` tokens. Takes nothing and returns False if too few are free."""
        missing = self.pages_for(token_count) - len(pages)
        if missing > len(self._free):
            return False
        for _ in range(missing):
            pages.append(self._free.pop())
        return True

    def release(self, pages: list[int]) -> None:
        """Takes all of `pages` back and empties the list."""
        self._free.extend(reversed(pages))
        pages.clear()
