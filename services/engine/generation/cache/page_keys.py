"""Keys under which full pages are shared: a chain of digests, so that a key stands for all tokens so far."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b

from services.engine.generation.cache.page_pool import PageKey
from services.engine.generation.running.media import PromptMedia

_DIGEST_BYTES = 16


class PageKeys:
    """The keys of one sequence's full pages, computed on demand.

    Sequences with different salts or adapters have different keys.
    """

    def __init__(
        self, token_ids: list[int], page_size: int, salt: str, media: PromptMedia | None = None, adapter: str = ""
    ) -> None:
        """`token_ids` may only be appended to. `media` are among the first."""
        self._media = media
        self._token_ids = token_ids
        self._page_size = page_size
        own = blake2b(adapter.encode(), digest_size=_DIGEST_BYTES).digest() if adapter else b""
        self._root = blake2b(salt.encode(), digest_size=_DIGEST_BYTES, key=own).digest()
        self._keys: list[PageKey] = []

    def before_last(self) -> Iterator[PageKey]:
        """Yields the keys of all full pages before the last token, which is always recomputed.

        Each is computed when it is its turn: whoever looks for a known prefix stops behind it.
        """
        for count in range(1, (len(self._token_ids) - 1) // self._page_size + 1):
            self._extend(count)
            yield self._keys[count - 1]

    def first(self, count: int) -> list[PageKey]:
        """Returns the keys of the first `count` pages, all of which are full."""
        self._extend(count)
        return self._keys[:count]

    def _extend(self, count: int) -> None:
        size, begin = self._page_size, len(self._keys)
        if begin >= count:
            return
        numbers = memoryview(array("q", self._token_ids[begin * size : count * size])).cast("B")
        width, before = len(numbers) // (count - begin), self._keys[-1] if begin else self._root
        for i in range(count - begin):
            content = numbers[i * width : (i + 1) * width]
            if self._media is not None:
                content = bytes(content) + self._media.digests((begin + i) * size, (begin + i + 1) * size)
            before = blake2b(content, digest_size=_DIGEST_BYTES, key=before).digest()
            self._keys.append(before)
