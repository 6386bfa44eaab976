"""How many tokens are proposed in a step, so that whoever shares it loses nothing by them."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from collections.abc import Sequence as Rows
from statistics import median

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.step_shape import MOST_PROPOSING
from services.engine.generation.running.runner import ModelRunner, Runner
from services.engine.generation.running.serial_runner import SerialRunner
from services.engine.generation.sampling.device_choice import takes
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.prompt_lookup import Lookup
from services.engine.metrics import EngineMetrics

_READING = 4096
"""Tokens that lookups take up in a step, which takes them less than a millisecond."""
_ALLOWANCE = 0.02
"""Steps that each step lets a row lose to proposals, its own or others'."""
_SAVED = 2.0
"""Steps of that, or of what proposals gained it, that a row keeps."""
_UNKNOWN_PRICE = 0.1
"""Of as many proposals as were not tried yet, in steps."""
_TRIES = 3
"""Steps that it takes to believe in another price: a single one may have been held up by something else."""
_REFRESH = 32
"""Steps with proposals after which one has none, so that it stays known how long that takes."""
_RECENT = 15
"""Steps of a kind that its price is the median of: few would be noise, which those that look cheap are chosen by."""


Kind = tuple[int, bool]
"""Of steps that take alike: how many rows, and whether nothing but a token is wanted of each."""


class Speculation:
    """Widens the rows of steps in which all decode by tokens that may come next. Belongs to the engine's thread.

    What proposals cost is measured: how long steps take without them, by their kind, and how much longer with so many,
    from the end of the step before. Where steps are launched ahead that tells all they cost: a step with proposals has
    none on its way behind it, so the GPU waits behind it as it did before it.

    Each row has a balance, in steps. It earns what of its own proposals is accepted and a small allowance, and pays the
    time by which proposals, whosever, make a step longer. A step has proposals only if no row's balance is expected to
    fall below zero by them: so no row, proposing or not, comes to be slower than without by more than the allowance.
    Where processors are busy anyway, or rows many, that ends speculation by itself.
    """

    def __init__(
        self,
        pool: PagePool,
        metrics: EngineMetrics,
        clock: Callable[[], float] = time.perf_counter,
        *,
        ahead: bool = False,
    ) -> None:
        """Takes pages of `pool`; `clock` tells the seconds that steps are compared by.

        `ahead`: steps of which nothing but tokens is wanted are launched before the one in front is read.
        """
        self._pool = pool
        self._clock = clock
        self._metrics = metrics
        self._ahead = ahead
        self._plain: defaultdict[Kind, deque[float]] = defaultdict(_recent)  # seconds
        self._added: defaultdict[tuple[Kind, int], deque[float]] = defaultdict(_recent)  # steps, by kind and magnitude
        self._since = 0
        self._ended = clock()
        self._awaited = self._alone = False  # whether none is launched behind this step, and none was in front of it

    def widen(self, rows: list[Row[Sequence]]) -> list[Row[Sequence]]:
        """Returns the rows with tokens proposed and pages for them; as they were where that is not worth it."""
        proposals = self._affordable(rows, self._proposals(rows))
        return [self._widened(row, proposals.get(row.sequence, ())) for row in rows] if proposals else rows

    def awaits(self, rows: list[Row[Sequence]]) -> bool:
        """Returns whether the step behind one that runs is to wait for its tokens.

        It is if more tokens are likely to be proposed behind them: then it may be a step with proposals.
        """
        proposals = self._proposals(rows)
        behind = {sequence: tokens[1:] for sequence, tokens in proposals.items() if len(tokens) > 1}
        behind = self._affordable(rows, behind)
        for sequence in behind:
            assert sequence.lookup is not None
            sequence.lookup.foresee(len(sequence.token_ids), proposals[sequence][0])
        self._awaited = bool(behind)
        return self._awaited

    def settle(self, rows: Rows[Row[Sequence]], drawn: Rows[Sequence]) -> None:
        """Takes back pages of tokens that were not accepted, and notes what the step has cost and gained.

        To be called at the end of every step, from which the next one's time counts. `drawn` are the sequences of the
        tokens that the step found, once for each.
        """
        proposed = sum(len(row.proposed) for row in rows)
        began, alone = self.end(proposing=proposed > 0)
        if not any(row.sequence.looks_up for row in rows) or not all(row.decodes for row in rows):
            return
        price = self._observe(_kind(rows), proposed, self._ended - began, alone)
        for row in rows:
            accepted = 0
            if row.proposed:
                accepted = max(drawn.count(row.sequence) - 1, 0)
                self._accept(row, accepted)
            balance = row.sequence.balance + _ALLOWANCE + accepted - price
            row.sequence.balance = min(balance, _SAVED)

    def end(self, *, proposing: bool = False) -> tuple[float, bool]:
        """Notes that a step has ended, which is all that is to be done where none of its rows looks anything up.

        Returns when the step before had, and whether none was in front of this one.
        """
        before = self._ended, self._alone
        self._ended = self._clock()
        self._alone, self._awaited = self._awaited or proposing, False
        return before

    def withdraw(self, rows: Rows[Row[Sequence]]) -> None:
        """Takes back the pages of proposed tokens, and what processors may have noted of them, after a failure."""
        for row in rows:
            row.sequence.processors = None
            self._trim(row.sequence, len(row.sequence.token_ids))

    def _proposals(self, rows: list[Row[Sequence]]) -> dict[Sequence, tuple[int, ...]]:
        """Returns what is proposed to the rows that ask for it; nothing where the step is not to have any."""
        proposals: dict[Sequence, tuple[int, ...]] = {}
        asking, most = [row for row in rows if row.sequence.looks_up], MOST_PROPOSING - len(rows)
        if not asking or most <= 0 or not all(row.decodes for row in rows):
            return proposals
        if self._since >= _REFRESH or not self._plain[_kind(rows)]:
            return proposals
        reading = _READING // len(asking)
        for row in asking:
            sequence = row.sequence
            request, stopping = sequence.request, sequence.request.stopping
            if sequence.lookup is None and request.lookup:
                sequence.lookup = Lookup(request.lookup, sequence.prompt_count + stopping.max_new_tokens)
            assert sequence.lookup is not None
            room = min(stopping.max_new_tokens - sequence.output.token_count - 1, most)
            found = sequence.lookup.propose(sequence.token_ids, room, reading)
            end = next((i for i, token in enumerate(found) if token in stopping.ending_ids), len(found))
            if end:
                proposals[sequence] = tuple(found[:end])  # nothing comes behind an end
                most -= end
        return proposals

    def _affordable(
        self, rows: list[Row[Sequence]], proposals: dict[Sequence, tuple[int, ...]]
    ) -> dict[Sequence, tuple[int, ...]]:
        """Returns the proposals, or their first halves and so on, for which all rows can pay; else none."""
        while proposals:
            kind = _kind(rows)
            price = self._price(kind, sum(map(len, proposals.values()))) + self._price(kind, 0)
            if all(row.sequence.balance + _expected(row.sequence, proposals) >= price for row in rows):
                break
            halves = ((sequence, tokens[: len(tokens) // 2]) for sequence, tokens in proposals.items())
            proposals = {sequence: tokens for sequence, tokens in halves if tokens}
        return proposals

    def _widened(self, row: Row[Sequence], proposed: tuple[int, ...]) -> Row[Sequence]:
        count = len(proposed)
        if not count or not self._pool.grow(row.sequence.pages, len(row.sequence.token_ids) + count):
            return row
        return Row(row.sequence, 1 + count, decodes=True, scored=count, proposed=proposed)

    def _accept(self, row: Row[Sequence], accepted: int) -> None:
        sequence, proposed = row.sequence, len(row.proposed)
        assert sequence.lookup is not None
        known = len(sequence.token_ids) + accepted
        self._trim(sequence, known)
        sequence.lookup.learn(known + 1, proposed, accepted)
        sequence.group.proposed_count += proposed
        sequence.group.accepted_count += accepted
        self._metrics.proposed_tokens.inc(proposed)
        self._metrics.accepted_tokens.inc(accepted)

    def _trim(self, sequence: Sequence, known: int) -> None:
        needed = self._pool.pages_for(known)
        surplus = sequence.pages[needed:]
        del sequence.pages[needed:]
        self._pool.release(surplus)

    def _observe(self, kind: Kind, proposed: int, seconds: float, alone: bool) -> float:
        """Notes how long a step took. Returns what proposals, its own or those before it, cost, in steps."""
        known = self._plain[kind]
        if not proposed and not (alone and self._ahead and kind[1]):
            self._since = 0
            known.append(seconds)
            return 0.0
        self._since += proposed > 0
        if known:
            self._added[kind, proposed.bit_length()].append(max(seconds / median(known) - 1, 0.0))
        return self._price(kind, proposed)

    def _price(self, kind: Kind, proposed: int) -> float:
        """Returns by how many steps so many proposals make one longer; of none, those of the step before."""
        known = self._added[kind, proposed.bit_length()]
        if not proposed:
            return median(known) if known else 0.0
        return median([*known, *[_UNKNOWN_PRICE] * (_TRIES - len(known))])


def hindrance(runner: Runner) -> str:
    """Returns why tokens cannot be proposed to a runner; empty where they can."""
    if isinstance(runner, SerialRunner):
        return "the model's sequences are run one by one, each on its own cache"
    if not isinstance(runner, ModelRunner):
        return "the model reads its input by an encoder"
    return ""


def _recent() -> deque[float]:
    return deque(maxlen=_RECENT)


def _kind(rows: Rows[Row[Sequence]]) -> Kind:
    return len(rows), all(takes(row.sequence) for row in rows)


def _expected(sequence: Sequence, proposals: dict[Sequence, tuple[int, ...]]) -> float:
    """Returns how many of its proposed tokens a row is expected to get."""
    proposed = len(proposals.get(sequence, ()))
    return sequence.lookup.rate * proposed if sequence.lookup and proposed else 0.0
