"""Which sequences take part in the next step, and with how many tokens."""

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
    """Decides by arrival and priority. Belongs to the engine's thread.

    Rows that decode come first, one token each; then prompts, in chunks, within what `budget` allows, so that a long
    prompt does not stop the streams beside it. Pages are taken for a whole prompt when it is admitted and one by
    one while decoding. When none is left, the sequence that is last in order gives its pages back and is computed anew
    later: its draws are keyed by position, so nothing changes but the time.

    Full pages are published as they are computed, and a sequence that begins like another starts behind what both
    begin with.

    The candidates of a request come and go one by one, like sequences of different requests. Its beams go on together,
    so they are admitted, get their pages and give them back together.
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
        """Takes what the model's way of being run allows.

        Args:
            pool: The pages.
            budget: How many prompt tokens a step may take.
            max_sequences: Rows of a step.
            share_prefixes: Whether requests start behind what others have computed.
            shares_pages: Whether pages hold what is computed. Else they only stand for the memory it takes, and each
                sequence has its own.
            whole_prompts: Whether a prompt is read at once: the budget then bounds how many begin in a step.
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
        """Sequences that were not admitted yet or were preempted, in no order."""
        return [sequence for _, _, sequence in self._waiting]

    @property
    def free_rows(self) -> int:
        """Rows that are neither taken nor kept for followers; negative where there are too many."""
        return self._max_sequences - sum(sequence.rows for sequence in self.running)

    @property
    def admits(self) -> bool:
        """Whether a sequence waits and a row is free."""
        return bool(self._waiting) and self.free_rows > 0

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
        self._prefixes.forget(sequence)

    def advance(self, row: Row[Sequence]) -> None:
        """Notes that a row's tokens are in the cache, and publishes the pages it has filled."""
        self._prefixes.advance(row.sequence, row.token_count)

    def advance_each(self, sequences: list[Sequence]) -> None:
        """Does the same for rows of one token of these sequences."""
        size = self._pool.page_size
        for sequence in sequences:
            if (sequence.computed + 1) % size:
                sequence.computed += 1
            else:
                self._prefixes.advance(sequence, 1)

    def halve(self, row: Row[Sequence]) -> Row[Sequence] | None:
        """Returns a row with half the tokens of a prompt, or None where it cannot be read in pieces."""
        return None if self._whole_prompts else row.halved()

    def give_way(self, sequence: Sequence) -> bool:
        """Takes memory from the last of the others, for which there is no room from now on; False if none has any."""
        others = [other for other in self.running if other.group is not sequence.group]
        if self._shares_pages or not others:
            return False
        self._preempt(others[-1])
        self._limit(sum(running.rows for running in self.running))
        return True

    def shrink(self, rows: list[Row[Sequence]]) -> None:
        """Makes steps smaller from now on, as there was no memory for these rows together."""
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
        """Lets the followers of a sequence go on beside it; candidates for which there is no room wait.

        Returns pairs of which the second is to be given what the first has computed, before either runs again.
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
        """Lets no more sequences run from now on."""
        self._max_sequences = max(max_sequences, 1)
        log.warning("Memory was lacking: at most %d sequences share a step from now on", self._max_sequences)
        while not self._has_rows(0) and self.running[-1].group is not self.running[0].group:
            self._preempt(self.running[-1])

    def _prompts(self) -> list[int]:
        """Returns how many tokens are left of each prompt that is being read or for which a row is free."""
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
        """Moves the first waiting sequence to the running ones, if there is a row and room for its whole prompt."""
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
        """Returns whether so many rows are free. What comes alone has room."""
        return not self.running or count <= self.free_rows

    def _has_pages(self, sequence: Sequence) -> bool:
        """Takes pages for a sequence that comes in, if there are enough for its followers too where all must go on."""
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
        """Lets a follower run with what its lead has computed; False if it has to wait."""
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
        """Takes the page of a sequence's next token, if it needs one: for all beams of a search or for none to run."""
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
        """Puts a sequence back among the waiting, with all beams it belongs to."""
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
        """Takes back what a sequence holds."""
        self._pool.release(sequence.pages)
        self._pool.release(sequence.source_pages)
        sequence.state = None
