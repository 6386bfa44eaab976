"""Chooses the sequences of the next step, and how many tokens of each."""

import heapq
import logging
from bisect import insort
from itertools import count

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.prefixes import Prefixes
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.sequence import SCORED_TOKEN_COST, Row, Sequence

log = logging.getLogger(__name__)


class Scheduler:
    """Continuous batching by arrival and priority. Used in the engine's thread only.

    Decoding rows come first, with one token each; then prompts, in chunks within `budget`, so that a long prompt does
    not stop the streams beside it. A sequence is given pages for its whole prompt when it is admitted, and one by one
    while it decodes. When no page is free, the last sequence in order is preempted: it gives its pages back and is
    recomputed later. Its random draws are keyed by position, so its output stays the same.

    Full pages are published as soon as they are computed, and a new sequence starts behind the published pages that
    hold the beginning of its prompt.

    Candidates of a request are scheduled independently, like sequences of different requests. Beams of a request
    advance together, so they are admitted, given pages and preempted together.
    """

    def __init__(
        self,
        pool: PagePool,
        budget: PrefillBudget,
        *,
        max_sequences: int,
        share_prefixes: bool = True,
        shares_pages: bool = True,
        whole_prompts: bool = False,
    ) -> None:
        """Makes a scheduler without sequences.

        Args:
            pool: The pages.
            budget: How many prompt tokens a step may take.
            max_sequences: Rows of a step.
            share_prefixes: Whether sequences reuse the published pages of others.
            shares_pages: Whether pages hold the keys and values. Otherwise each sequence has a cache of its own, and
                pages only account for its memory.
            whole_prompts: Whether prompts are read without chunks: the budget then bounds how many begin in a step.
        """
        self._pool = pool
        self._shares_pages, self._whole_prompts, self._max_sequences = shares_pages, whole_prompts, max_sequences
        self._prefixes = Prefixes(pool, published=share_prefixes, shares_pages=shares_pages)
        self.budget = budget
        self._waiting: list[tuple[float, int, Sequence]] = []
        self._arrivals = count()
        self.running: list[Sequence] = []
        self.preemptions = 0

    @property
    def waiting(self) -> list[Sequence]:
        """Sequences that were not admitted yet or were preempted, unordered."""
        return [sequence for _, _, sequence in self._waiting]

    @property
    def free_rows(self) -> int:
        """Rows that are neither used nor reserved for followers; negative after the limit was lowered."""
        return self._max_sequences - sum(sequence.rows for sequence in self.running)

    @property
    def admits(self) -> bool:
        """Whether a sequence waits and a row is free."""
        return bool(self._waiting) and self.free_rows > 0

    def add(self, sequence: Sequence) -> None:
        """Adds a sequence to the waiting ones."""
        heapq.heappush(self._waiting, (sequence.order, next(self._arrivals), sequence))

    def remove(self, sequence: Sequence) -> None:
        """Removes a sequence, waiting or running, and frees its pages."""
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not sequence]
            heapq.heapify(self._waiting)
        self._release(sequence)
        self._prefixes.forget(sequence)

    def advance(self, row: Row[Sequence]) -> None:
        """Notes that a row's tokens are in the cache, and publishes the pages it has filled."""
        self._prefixes.advance(row.sequence, row.token_count)

    def foresee(self, rows: list[Row[Sequence]]) -> None:
        """Does beforehand what `advance` would take long for, while a step of these rows runs."""
        for row in rows:
            if row.token_count > 1:  # the key of a single page is made in no time
                self._prefixes.foresee(row.sequence, row.token_count)

    def advance_each(self, sequences: list[Sequence]) -> None:
        """As `advance`, for rows of one token of these sequences."""
        size = self._pool.page_size
        for sequence in sequences:
            if (sequence.computed + 1) % size:
                sequence.computed += 1
            else:
                self._prefixes.advance(sequence, 1)

    def halve(self, row: Row[Sequence]) -> Row[Sequence] | None:
        """Returns a row with half the tokens, or None where the prompt cannot be read in chunks."""
        return None if self._whole_prompts else row.halved()

    def give_way(self, sequence: Sequence) -> bool:
        """Preempts the last of the other running sequences and allows one fewer from now on; False if there is none."""
        others = [other for other in self.running if other.group is not sequence.group]
        if self._shares_pages or not others:
            return False
        self._preempt(others[-1])
        self._limit(sum(running.rows for running in self.running))
        return True

    def shrink(self, rows: list[Row[Sequence]]) -> None:
        """Makes later steps smaller, as there was no memory for these rows together."""
        prompt_tokens, decode_count = sum(row.cost for row in rows if not row.decodes), sum(row.decodes for row in rows)
        if prompt_tokens > decode_count:
            self.budget.shrink(prompt_tokens)
            log.warning("Memory was lacking: steps read less than %d prompt tokens from now on", prompt_tokens)
        elif len({row.sequence.group for row in rows}) > 1:  # those of one request go on row by row
            self._limit(len(rows) * 3 // 4)

    def observe(self, rows: list[Row[Sequence]], seconds: float) -> None:
        """Notes how long a step took, unless tokens were proposed in it."""
        decode_count = sum(row.decodes for row in rows)
        if not any(row.proposed for row in rows):
            self.budget.observe(decode_count, sum(row.cost for row in rows) - decode_count, seconds)

    def schedule(self) -> list[Row[Sequence]]:
        """Returns the rows of the next step; empty only if there is nothing to do."""
        rows = self._decode_rows()
        budget = self.budget.tokens(len(rows), self._prompts())
        for sequence in self.running:
            if sequence.remaining > 1 and budget > 0:
                rows.append(self._chunk(sequence, budget))
                budget -= rows[-1].cost
        while budget > 0 and (sequence := self._admit()):
            rows.append(self._chunk(sequence, budget))
            budget -= rows[-1].cost
        return rows

    def split(self, lead: Sequence) -> list[tuple[Sequence, Sequence]]:
        """Lets the followers of a sequence run beside it; candidates for which there is no room wait.

        Returns pairs of sequences: the state of the first must be copied to the second before either runs again.
        """
        if lead not in self.running:
            return []  # a split before it has cost the search its room
        followers, lead.followers = lead.followers, []
        lead.token_ids += lead.tail
        lead.tail = []
        lead.branches = lead.group.search is not None
        pairs: list[tuple[Sequence, Sequence]] = []
        for follower in followers:
            if self._place(follower, lead):
                pairs.append((lead, follower))
            elif lead not in self.running:
                return []
            else:
                self.add(follower)
        if lead.group.search:
            lead.group.share_rows()
        return pairs

    def _limit(self, max_sequences: int) -> None:
        """Lowers the number of sequences that may run."""
        self._max_sequences = max(max_sequences, 1)
        log.warning("Memory was lacking: at most %d sequences share a step from now on", self._max_sequences)
        while not self._has_rows(0) and self.running[-1].group is not self.running[0].group:
            self._preempt(self.running[-1])

    def _prompts(self) -> list[int]:
        """Returns the number of unread tokens of each prompt that is being read or could be admitted."""
        begun = [sequence.remaining for sequence in self.running if sequence.remaining > 1]
        free = self._waiting[: max(self.free_rows, 0)]
        return begun + [sequence.remaining - self._prefixes.known(sequence) for _, _, sequence in free]

    def _decode_rows(self) -> list[Row[Sequence]]:
        rows: list[Row[Sequence]] = []
        for sequence in list(self.running):
            # `running` is in order, so a victim stands behind every row planned so far.
            while sequence in self.running and sequence.remaining == 1:
                if self._grow(sequence):
                    rows.append(Row(sequence, 1, decodes=True))
                    break
                self._preempt(self.running[-1])
        return rows

    def _admit(self) -> Sequence | None:
        """Moves the first waiting sequence to the running ones, if a row and the pages of its prompt are free."""
        if not self._waiting or not self._has_rows(self._waiting[0][2].rows):
            return None
        sequence = self._waiting[0][2]
        shared = self._prefixes.shared(sequence)
        sequence.pages += shared
        if not self._has_pages(sequence):
            self._release(sequence)
            return None
        sequence.computed = len(shared) * self._pool.page_size
        if sequence.group.cached_count is None:
            sequence.group.cached_count = sequence.computed
        heapq.heappop(self._waiting)
        insort(self.running, sequence, key=lambda running: running.order)
        return sequence

    def _has_rows(self, count: int) -> bool:
        """Returns whether so many rows are free, or nothing runs."""
        return not self.running or count <= self.free_rows

    def _has_pages(self, sequence: Sequence) -> bool:
        """Takes the pages of a sequence to admit, if there are enough: for a beam search, those of all beams."""
        whole, pool = len(sequence.token_ids) + len(sequence.tail), self._pool
        if not (pool.grow(sequence.pages, whole) and pool.grow(sequence.source_pages, len(sequence.source_ids))):
            return False
        own = pool.pages_for(whole)
        if self._shares_pages:
            own -= len(sequence.token_ids) // pool.page_size
        else:
            own += len(sequence.source_pages)
        return (sequence.rows - 1) * own <= pool.free_count

    def _place(self, follower: Sequence, lead: Sequence) -> bool:
        """Lets a follower run from the state of its leader; False if it has to wait."""
        together = lead.group.search is not None
        if not together and not self._has_rows(1):
            return False
        if self._shares_pages:
            follower.pages = self._pool.hold(lead.pages[: lead.computed // self._pool.page_size])
            follower.source_pages = self._pool.hold(lead.source_pages)
        follower.computed = lead.computed
        # A single token's page is taken when it is its turn.
        count, source = lead.computed if follower.remaining == 1 else len(follower.token_ids), len(follower.source_ids)
        while not (self._pool.grow(follower.pages, count) and self._pool.grow(follower.source_pages, source)):
            if not together:
                self._release(follower)
                follower.computed = 0
                return False
            self._preempt(self.running[-1])
            if lead not in self.running:
                return False
        # Beside each other, so that whoever comes after one of a search's beams comes after all of them.
        self.running.insert(self.running.index(lead) + 1, follower)
        return True

    def _grow(self, sequence: Sequence) -> bool:
        """Takes a page for the next token of a sequence, if it needs one; for the beams of a search, all or none."""
        if sequence.group.search is None or sequence.followers:
            return self._pool.grow(sequence.pages, len(sequence.token_ids))
        return all(self._pool.grow(beam.pages, len(beam.token_ids)) for beam in sequence.group.sequences)

    def _chunk(self, sequence: Sequence, budget: int) -> Row[Sequence]:
        """Returns the next tokens of a prompt, as many as the budget allows."""
        scoring, whole = sequence.group.scoring, self._whole_prompts
        count = sequence.remaining if whole else min(sequence.remaining, budget)
        if scoring is None or not (scored := scoring.scored(sequence.computed, count)):
            return Row(sequence, count)
        if scored * SCORED_TOKEN_COST > budget and not whole:
            count = scored = max(budget // SCORED_TOKEN_COST, 1)
        return Row(sequence, count, scored=scored)

    def _preempt(self, sequence: Sequence) -> None:
        """Puts a running sequence back among the waiting, with all beams of its search."""
        group = sequence.group
        for one in group.sequences if group.search else [sequence]:
            if one in self.running:
                self.running.remove(one)
            self._release(one)
            one.computed = 0
            one.logits = None
        if group.search:
            sequence = group.gather()
            self._prefixes.forget(sequence)  # its tokens were cut
        self.preemptions += 1
        self.add(sequence)

    def _release(self, sequence: Sequence) -> None:
        """Frees all pages of a sequence."""
        self._pool.release(sequence.pages)
        self._pool.release(sequence.source_pages)
        sequence.state = None
