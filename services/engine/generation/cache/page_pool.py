"""Which pages of the KV cache are free, how often others are held, and which hold a prefix that may be shared.

Pure bookkeeping; `kv_cache` holds the tensors.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile

PageKey = bytes
"""Stands for a full page's tokens and everything before them; see `page_keys`."""


class PagePool:
    """Hands out page numbers in [0, page_count). Not thread-safe: used in the engine's thread only.

    A full page may be published under a key, and is then shared with sequences that have the same prefix. When its last
    holder has released it, it stays cached until the page is needed: the least recently used goes first.
    """

    def __init__(self, page_count: int, page_size: int) -> None:
        self.page_count = page_count
        self.page_size = page_size
        self._free = list(range(page_count - 1, -1, -1))
        self._holders = [0] * page_count
        self._page_of: dict[PageKey, int] = {}
        self._key_of: dict[int, PageKey] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()  # published pages nobody holds, the longest unused first

    @property
    def free_count(self) -> int:
        """Pages that nobody holds, cached ones included."""
        return len(self._free) + len(self._kept)

    def pages_for(self, token_count: int) -> int:
        """Returns how many pages hold `token_count` tokens."""
        return -(-token_count // self.page_size)

    def grow(self, pages: list[int], token_count: int) -> bool:
        """Extends `pages` until they hold `token_count` tokens. Takes nothing and returns False if too few are free."""
        missing = self.pages_for(token_count) - len(pages)
        if missing > self.free_count:
            return False
        for _ in range(missing):
            page = self._free.pop() if self._free else self._forget()
            self._holders[page] = 1
            pages.append(page)
        return True

    def share(self, keys: Iterable[PageKey]) -> list[int]:
        """Returns the published pages of the longest known prefix of `keys`, which the caller then holds."""
        pages: list[int] = []
        for key in keys:
            page = self._page_of.get(key)
            if page is None:
                break
            self._kept.pop(page, None)
            self._holders[page] += 1
            pages.append(page)
        return pages

    def published(self, keys: Iterable[PageKey]) -> int:
        """Returns how many pages `share` would return now."""
        return sum(1 for _ in takewhile(self._page_of.__contains__, keys))

    def hold(self, pages: Iterable[int]) -> list[int]:
        """Returns a copy of `pages`, which somebody holds and the caller then holds too."""
        held = list(pages)
        for page in held:
            self._holders[page] += 1
        return held

    def publish(self, page: int, key: PageKey) -> None:
        """Lets others share a full page that is held. Does nothing if another page was published under the key."""
        if key not in self._page_of and page not in self._key_of:
            self._page_of[key] = page
            self._key_of[page] = key

    def release(self, pages: list[int]) -> None:
        """Releases all of `pages` and empties the list."""
        # Backwards, so that of one sequence the end is forgotten before the beginning, which more may share.
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page] == 0:
                if page in self._key_of:
                    self._kept[page] = None
                else:
                    self._free.append(page)
        pages.clear()

    def _forget(self) -> int:
        page, _ = self._kept.popitem(last=False)
        del self._page_of[self._key_of.pop(page)]
        return page
