"""Beginnings that sequences share: pages that one has computed and others start behind."""

from services.engine.generation.cache.page_keys import PageKeys
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.sequence import Sequence


class Prefixes:
    """Publishes full pages as they are computed, and finds what a sequence begins with. The engine's thread's."""

    def __init__(self, pool: PagePool, *, published: bool, shares_pages: bool) -> None:
        """Without `published`, sequences share only what another candidate of their request holds, if pages at all."""
        self._pool, self._published, self._shares_pages = pool, published, shares_pages
        self._keys: dict[Sequence, PageKeys] = {}

    def advance(self, sequence: Sequence, count: int) -> None:
        """Notes that so many more tokens are in the cache, and publishes the pages they have filled."""
        size = self._pool.page_size
        filled = sequence.computed // size
        sequence.computed += count
        if self._published and sequence.computed // size > filled:
            keys = self._keys_of(sequence).first(sequence.computed // size)
            for page, key in zip(sequence.pages[filled:], keys[filled:], strict=False):
                self._pool.publish(page, key)

    def known(self, sequence: Sequence) -> int:
        """Returns how many tokens a sequence would start behind that others have computed."""
        if not self._published or not self._shares_pages or sequence.group.scoring:
            return 0
        return self._pool.published(self._keys_of(sequence).before_last()) * self._pool.page_size

    def shared(self, sequence: Sequence) -> list[int]:
        """Takes hold of pages a sequence begins with that others have filled; its last token is computed anew.

        What others published, or else what another candidate of its request holds of the prompt.
        """
        if sequence.group.scoring or not self._shares_pages:
            return []
        if self._published:
            return self._pool.share(self._keys_of(sequence).before_last())
        alike = min(len(sequence.request.prompt_token_ids), len(sequence.token_ids) - 1) // self._pool.page_size
        fullest = max(sequence.group.sequences, key=lambda other: other.computed)
        return self._pool.hold(fullest.pages[: min(alike, fullest.computed // self._pool.page_size)])

    def forget(self, sequence: Sequence) -> None:
        """Lets go of what it knows of a sequence that is gone, or whose tokens were cut."""
        self._keys.pop(sequence, None)

    def _keys_of(self, sequence: Sequence) -> PageKeys:
        if sequence not in self._keys:
            salt, media = sequence.request.cache_salt, sequence.media
            self._keys[sequence] = PageKeys(sequence.token_ids, self._pool.page_size, salt, media, sequence.adapter)
        return self._keys[sequence]
