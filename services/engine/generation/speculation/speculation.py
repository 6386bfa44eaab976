"""How many tokens are proposed in a step, so that no sequence in it becomes slower."""

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
"""The most tokens that lookups index in a step, which takes less than a millisecond."""
_ALLOWANCE = 0.02
"""The loss, in steps, that each step allows a row through proposals, its own or others'."""
_SAVED = 2.0
"""The most steps that a row's balance may hold."""
_UNKNOWN_PRICE = 0.1
"""The assumed price, in steps, of a number of proposals that was not tried yet."""
_TRIES = 3
"""How many steps must confirm another price: a single one may have been delayed by something else."""
_REFRESH = 32
"""After so many steps with proposals one has none, to measure again how long that takes."""
_RECENT = 15
"""A price is the median of so many steps: with few, proposals would be chosen by noise."""


Kind = tuple[int, bool]
"""A class of steps of similar duration: the number of rows, and whether only a token is wanted of each."""


class Speculation:
    """Adds proposed tokens to the rows of steps in which all rows decode. Used in the engine's thread only.

    The price of proposals is measured: how long steps of each kind take without them, and how much longer with them,
    from the end of the step before. Where steps are launched ahead this includes the GPU's idle time: a step with
    proposals has no other launched behind it.

    Each row has a balance, in steps. It earns a step for each accepted token of its own, and a small allowance; it pays
    the time by which anybody's proposals make a step longer. A step has proposals only if no row's balance is expected
    to fall below zero. So no row, whether it proposes or not, becomes slower by more than the allowance, and where
    processors are busy anyway, or rows are many, speculation ends by itself.
    """

    def __init__(
        self,
        pool: PagePool,
        metrics: EngineMetrics,
        clock: Callable[[], float] = time.perf_counter,
        *,
        ahead: bool = False,
    ) -> None:
        """`pool` gives pages for proposed tokens; `clock` measures steps, in seconds.

        `ahead` says that steps of which only tokens are wanted are launched before the results of the last are read.
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
        """Returns the rows with proposed tokens and pages for them; unchanged where proposals are not worth it."""
        proposals = self._affordable(rows, self._proposals(rows))
        return [self._widened(row, proposals.get(row.sequence, ())) for row in rows] if proposals else rows

    def awaits(self, rows: list[Row[Sequence]]) -> bool:
        """Returns whether the next step must not be launched before the tokens of this one are known.

        It must not if these are likely to lead to proposals for the next step.
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
        """Frees the pages of tokens that were not accepted, and notes the step's cost and gain.

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
        """After a failure, frees the pages of proposed tokens and undoes what processors noted of them."""
        for row in rows:
            row.sequence.processors = None
            self._trim(row.sequence, len(row.sequence.token_ids))

    def _proposals(self, rows: list[Row[Sequence]]) -> dict[Sequence, tuple[int, ...]]:
        """Returns the proposals for rows that ask for them; none where the step is to have none."""
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
        """Returns the proposals, or their first halves, quarters and so on, that all rows can pay for; else none."""
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
        """Returns by how many steps so many proposals lengthen a step; for 0, those of the step before do."""
        known = self._added[kind, proposed.bit_length()]
        if not proposed:
            return median(known) if known else 0.0
        return median([*known, *[_UNKNOWN_PRICE] * (_TRIES - len(known))])


def hindrance(runner: Runner) -> str:
    """Returns why a runner cannot take proposed tokens; empty where it can."""
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
    """Returns how many of its proposed tokens a row is expected to accept."""
    proposed = len(proposals.get(sequence, ()))
    return sequence.lookup.rate * proposed if sequence.lookup and proposed else 0.0
