"""Prefixes that sequences share: full pages that one sequence has computed and others reuse."""

from services.engine.generation.cache.page_keys import PageKeys
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.sequence import Sequence


class Prefixes:
    """Publishes full pages once they are computed, and finds those of a new sequence. For the engine's thread."""

    def __init__(self, pool: PagePool, *, published: bool, shares_pages: bool) -> None:
        """Without `published`, a sequence reuses only pages of other candidates of its request."""
        self._pool, self._published, self._shares_pages = pool, published, shares_pages
        self._keys: dict[Sequence, PageKeys] = {}

    def advance(self, sequence: Sequence, count: int) -> None:
        """Notes that `count` more tokens are in the cache, and publishes the pages that these have filled."""
        size = self._pool.page_size
        filled = sequence.computed // size
        sequence.computed += count
        if self._published and sequence.computed // size > filled:
            keys = self._keys_of(sequence).first(sequence.computed // size)
            for page, key in zip(sequence.pages[filled:], keys[filled:], strict=False):
                self._pool.publish(page, key)

    def foresee(self, sequence: Sequence, count: int) -> None:
        """Computes what `advance` by `count` tokens will need, while nobody waits for it."""
        if self._published:
            self._keys_of(sequence).first((sequence.computed + count) // self._pool.page_size)

    def known(self, sequence: Sequence) -> int:
        """Returns how many tokens of a sequence `shared` would find in the cache."""
        if not self._published or not self._shares_pages or sequence.group.scoring:
            return 0
        return self._pool.published(self._keys_of(sequence).before_last()) * self._pool.page_size

    def shared(self, sequence: Sequence) -> list[int]:
        """Takes hold of the pages of a sequence's prefix that others have filled, all before its last token.

        They are published ones, or else those of the prompt that another candidate of its request holds.
        """
        if sequence.group.scoring or not self._shares_pages:
            return []
        if self._published:
            return self._pool.share(self._keys_of(sequence).before_last())
        alike = min(len(sequence.request.prompt_token_ids), len(sequence.token_ids) - 1) // self._pool.page_size
        fullest = max(sequence.group.sequences, key=lambda other: other.computed)
        return self._pool.hold(fullest.pages[: min(alike, fullest.computed // self._pool.page_size)])

    def forget(self, sequence: Sequence) -> None:
        """Forgets the keys of a sequence that has ended, or whose tokens were cut."""
        self._keys.pop(sequence, None)

    def _keys_of(self, sequence: Sequence) -> PageKeys:
        if sequence not in self._keys:
            salt, media = sequence.request.cache_salt, sequence.media
            self._keys[sequence] = PageKeys(sequence.token_ids, self._pool.page_size, salt, media, sequence.adapter)
        return self._keys[sequence]
