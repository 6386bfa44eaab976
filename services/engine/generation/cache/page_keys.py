"""Keys under which full pages are shared: a chain of digests, so that a key stands for all tokens so far."""

from array import array
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

    def before_last(self) -> list[PageKey]:
        """Returns the keys of all full pages before the last token, which is always recomputed."""
        return self.first((len(self._token_ids) - 1) // self._page_size)

    def first(self, count: int) -> list[PageKey]:
        """Returns the keys of the first `count` pages, all of which are full."""
        while len(self._keys) < count:
            start = len(self._keys) * self._page_size
            end = start + self._page_size
            content = array("q", self._token_ids[start:end]).tobytes()
            if self._media is not None:
                content += self._media.digests(start, end)
            before = self._keys[-1] if self._keys else self._root
            self._keys.append(blake2b(content, digest_size=_DIGEST_BYTES, key=before).digest())
        return self._keys[:count]
