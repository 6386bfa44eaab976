"""How many tokens are proposed in a step, so that whoever shares it loses nothing by them."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from collections.abc import Sequence as Rows
from statistics import median

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner, Runner
from services.engine.generation.running.serial_runner import SerialRunner
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.prompt_lookup import Lookup
from services.engine.metrics import EngineMetrics

_MOST_TOKENS = 64
"""Of a step with proposals."""
_READING = 4096
"""Tokens that lookups take up in a step, which takes them less than a millisecond."""
_ALLOWANCE = 0.02
"""Steps that each step lets a row lose to proposals, its own or others'."""
_SAVED = 2.0
"""Steps of that, or of what proposals gained it, that a row keeps."""
_UNKNOWN_PRICE = 0.1
"""Of as many proposals as were not tried yet, in steps."""
_REFRESH = 32
"""Steps with proposals after which one has none, so that it stays known how long that takes."""
_RECENT = 15
"""Steps of a kind that its price is the median of: few would be noise, which those that look cheap are chosen by."""


class Speculation:
    """Widens the rows of steps in which all decode by tokens that may come next. Belongs to the engine's thread.

    What proposals cost is measured: how long steps take without them, by the number of rows, and how much longer with
    so many. Each row has a balance, in steps. It earns what of its own proposals is accepted and a small allowance, and
    pays the time by which proposals, whosever, make a step longer. A step has proposals only if no row's balance is
    expected to fall below zero by them: so no row, proposing or not, comes to be slower than without by more than the
    allowance. Where processors are busy anyway, or rows many, that ends speculation by itself.
    """

    def __init__(self, pool: PagePool, metrics: EngineMetrics, clock: Callable[[], float] = time.perf_counter) -> None:
        """Takes pages of `pool`; `clock` tells the seconds that steps are compared by."""
        self._pool = pool
        self.clock = clock
        self._metrics = metrics
        self._plain: defaultdict[int, deque[float]] = defaultdict(_recent)  # seconds, by rows
        self._added: defaultdict[tuple[int, int], deque[float]] = defaultdict(_recent)  # steps, by rows and magnitude
        self._since = 0

    def widen(self, rows: list[Row[Sequence]]) -> list[Row[Sequence]]:
        """Returns the rows with tokens proposed and pages for them; as they were where that is not worth it."""
        asking = [row for row in rows if _looks_up(row.sequence)]
        if not asking or not all(row.decodes for row in rows) or len(rows) >= _MOST_TOKENS:
            return rows
        if self._since >= _REFRESH or not self._plain[len(rows)]:
            return rows
        proposals = self._affordable(rows, self._proposals(asking, _MOST_TOKENS - len(rows)))
        return [self._widened(row, proposals.get(row.sequence, ())) for row in rows]

    def settle(self, rows: Rows[Row[Sequence]], drawn: Rows[Sequence], seconds: float) -> None:
        """Takes back pages of tokens that were not accepted, and notes what the step has cost and gained.

        `drawn` are the sequences of the tokens that the step found, once for each.
        """
        if not all(row.decodes for row in rows):
            return
        price = self._observe(len(rows), sum(len(row.proposed) for row in rows), seconds)
        for row in rows:
            accepted = 0
            if row.proposed:
                accepted = max(drawn.count(row.sequence) - 1, 0)
                self._accept(row, accepted)
            balance = row.sequence.balance + _ALLOWANCE + accepted - price
            row.sequence.balance = min(balance, _SAVED)

    def withdraw(self, rows: Rows[Row[Sequence]]) -> None:
        """Takes back the pages of proposed tokens, and what processors may have noted of them, after a failure."""
        for row in rows:
            row.sequence.processors = None
            self._trim(row.sequence, len(row.sequence.token_ids))

    def _proposals(self, rows: list[Row[Sequence]], most: int) -> dict[Sequence, tuple[int, ...]]:
        proposals: dict[Sequence, tuple[int, ...]] = {}
        reading = _READING // len(rows)
        for row in rows:
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
            price = self._price(len(rows), sum(map(len, proposals.values())))
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

    def _observe(self, count: int, proposed: int, seconds: float) -> float:
        """Notes how long a step took. Returns what its proposals cost, in steps."""
        if not proposed:
            self._since = 0
            self._plain[count].append(seconds)
            return 0.0
        self._since += 1
        self._added[count, proposed.bit_length()].append(max(seconds / median(self._plain[count]) - 1, 0.0))
        return self._price(count, proposed)

    def _price(self, count: int, proposed: int) -> float:
        """Returns by how many steps so many proposals make one of `count` rows longer."""
        known = self._added[count, proposed.bit_length()]
        return median(known) if known else _UNKNOWN_PRICE


def hindrance(runner: Runner) -> str:
    """Returns why tokens cannot be proposed to a runner; empty where they can."""
    if isinstance(runner, SerialRunner):
        return "the model's sequences are run one by one, each on its own cache"
    if not isinstance(runner, ModelRunner):
        return "the model reads its input by an encoder"
    if runner.recorded is not None:
        return "the model's decode steps are recorded, and those take one token of each sequence"
    return ""


def _recent() -> deque[float]:
    return deque(maxlen=_RECENT)


def _looks_up(sequence: Sequence) -> bool:
    return sequence.request.lookup is not None and not sequence.branches


def _expected(sequence: Sequence, proposals: dict[Sequence, tuple[int, ...]]) -> float:
    """Returns how many of its proposed tokens a row is expected to get."""
    proposed = len(proposals.get(sequence, ()))
    return sequence.lookup.rate * proposed if sequence.lookup and proposed else 0.0
