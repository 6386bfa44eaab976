"""Which sequences take part in the next step, and with how many tokens."""

import heapq
from bisect import insort
from itertools import count

from services.engine.generation.page_keys import PageKeys
from services.engine.generation.page_pool import PagePool
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.sequence import Row, Sequence


class Scheduler:
    """Decides by arrival and priority. Belongs to the engine's thread.

    Rows that decode come first, one token each; then prompts, in chunks, within what `budget` allows, so that a long
    prompt does not stop the streams beside it. Pages are taken for a whole prompt when it is admitted and one by
    one while decoding. When none is left, the sequence that is last in order gives its pages back and is computed anew
    later: its draws are keyed by position, so nothing changes but the time.

    Full pages are published as they are computed, and a sequence that begins like another starts behind what both
    begin with.
    """

    def __init__(
        self,
        pool: PagePool,
        budget: PrefillBudget,
        *,
        max_sequences: int,
        share_prefixes: bool = True,
        whole_prompts: bool = False,
    ) -> None:
        """`whole_prompts` is for models that read a prompt at once: the budget then bounds how many begin in a step."""
        self._pool = pool
        self._share_prefixes = share_prefixes
        self._whole_prompts = whole_prompts
        self._keys: dict[Sequence, PageKeys] = {}
        self._max_sequences = max_sequences
        self._budget = budget
        self._waiting: list[tuple[float, int, Sequence]] = []
        self._arrivals = count()
        self.running: list[Sequence] = []
        self.preemptions = 0

    @property
    def waiting(self) -> list[Sequence]:
        """Sequences that were not admitted yet or were preempted, in no order."""
        return [sequence for _, _, sequence in self._waiting]

    def add(self, sequence: Sequence) -> None:
        """Puts a sequence among the waiting."""
        heapq.heappush(self._waiting, (sequence.order, next(self._arrivals), sequence))

    def remove(self, sequence: Sequence) -> None:
        """Takes a sequence out, wherever it is, and its pages back."""
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not sequence]
            heapq.heapify(self._waiting)
        self._release(sequence)
        self._keys.pop(sequence, None)

    def advance(self, row: Row[Sequence]) -> None:
        """Notes that a row's tokens are in the cache, and publishes the pages it has filled."""
        sequence, size = row.sequence, self._pool.page_size
        filled = sequence.computed // size
        sequence.computed += row.token_count
        if self._share_prefixes and sequence.computed // size > filled:
            keys = self._keys_of(sequence).first(sequence.computed // size)
            for page, key in zip(sequence.pages[filled:], keys[filled:], strict=False):
                self._pool.publish(page, key)

    def observe(self, rows: list[Row[Sequence]], seconds: float) -> None:
        """Notes how long a step took."""
        decode_count = sum(row.decodes for row in rows)
        self._budget.observe(decode_count, sum(row.cost for row in rows) - decode_count, seconds)

    def schedule(self) -> list[Row[Sequence]]:
        """Returns the rows of the next step; empty only if there is nothing to do."""
        rows = self._decode_rows()
        prompts = len(self.running) - len(rows) + len(self._waiting)
        budget = self._budget.tokens(len(rows), prompts)
        for sequence in self.running:
            if sequence.remaining > 1 and budget > 0:
                rows.append(self._prompt_row(sequence, budget))
                budget -= rows[-1].cost
        while budget > 0 and (sequence := self._admit()):
            rows.append(self._prompt_row(sequence, budget))
            budget -= rows[-1].cost
        return rows

    def _prompt_row(self, sequence: Sequence, budget: int) -> Row[Sequence]:
        return Row(sequence, sequence.remaining if self._whole_prompts else min(sequence.remaining, budget))

    def _decode_rows(self) -> list[Row[Sequence]]:
        rows: list[Row[Sequence]] = []
        for sequence in list(self.running):
            # `running` is in order, so a victim stands behind every row planned so far.
            while sequence in self.running and sequence.remaining == 1:
                if self._pool.grow(sequence.pages, len(sequence.token_ids)):
                    rows.append(Row(sequence, 1, decodes=True))
                    break
                self._preempt(self.running[-1])
        return rows

    def _admit(self) -> Sequence | None:
        """Moves the first waiting sequence to the running ones, if there is a row and room for its whole prompt."""
        if not self._waiting or len(self.running) >= self._max_sequences:
            return None
        sequence = self._waiting[0][2]
        shared = self._shared(sequence)
        sequence.pages += shared
        pool, source = self._pool, len(sequence.source_ids)
        if not (pool.grow(sequence.pages, len(sequence.token_ids)) and pool.grow(sequence.source_pages, source)):
            self._release(sequence)
            return None
        sequence.computed = len(shared) * self._pool.page_size
        if sequence.cached_count is None:
            sequence.cached_count = sequence.computed
        heapq.heappop(self._waiting)
        insort(self.running, sequence, key=lambda running: running.order)
        return sequence

    def _shared(self, sequence: Sequence) -> list[int]:
        """Takes hold of the published pages a sequence begins with; its last token is always computed anew."""
        if not self._share_prefixes:
            return []
        full = (len(sequence.token_ids) - 1) // self._pool.page_size
        return self._pool.share(self._keys_of(sequence).first(full))

    def _keys_of(self, sequence: Sequence) -> PageKeys:
        if sequence not in self._keys:
            salt = sequence.request.cache_salt
            self._keys[sequence] = PageKeys(sequence.token_ids, self._pool.page_size, salt)
        return self._keys[sequence]

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._release(sequence)
        sequence.computed = 0
        self.preemptions += 1
        self.add(sequence)

    def _release(self, sequence: Sequence) -> None:
        self._pool.release(sequence.pages)
        self._pool.release(sequence.source_pages)
        sequence.state = None
