"""Runs the rows of a step, and finds out which requests cause a failure."""

import logging
import time

import torch
from torch import Tensor

from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory, let_go
from services.engine.generation.group import SequenceGroup
from services.engine.generation.ledger import Ledger
from services.engine.generation.recorded.lookahead import Landing, Lookahead
from services.engine.generation.running.runner import Runner
from services.engine.generation.sampling.choice import Drawn, choose, follow
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.speculation import Speculation

log = logging.getLogger(__name__)


class Computation:
    """Used in the engine's thread only.

    A step that fails is repeated request by request. When it ran out of memory, prompts are read in smaller chunks, and
    sequences with memory of their own are preempted; if all requests succeed one by one, later steps are made smaller.
    When the device has failed nothing is repeated: `run` raises DeviceFault.
    """

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        ledger: Ledger,
        lookahead: Lookahead,
        speculation: Speculation | None = None,
    ) -> None:
        self._runner = runner
        self._lookahead = lookahead
        self._speculation = speculation
        self._scheduler = scheduler
        self._ledger = ledger

    def run(self, rows: list[Row[Sequence]]) -> Landing:
        """Runs the rows, samples a token for each row that completes, and ends requests that cause a failure.

        If a step was launched ahead, `rows` must be its rows: its results are returned, and the next step is launched
        ahead where that is possible. Otherwise rows may be returned with tokens that were proposed for them.
        """
        speculation = self._speculation
        if speculation is None:
            return self._run_plain(rows)
        wide = rows if self._lookahead.rows else speculation.widen(rows)
        proposing = wide is not rows and any(row.proposed for row in wide)
        landing = (self._run_wide(wide, speculation) if proposing else None) or self._run_plain(rows)
        if landing.cohort is None:
            speculation.settle(landing.rows, [sequence for sequence, _ in landing.drawn])
        else:
            speculation.end()
        return landing

    def _run_plain(self, rows: list[Row[Sequence]]) -> Landing:
        began = time.monotonic()
        return self._lookahead.run(rows) or Landing(rows, self._run(rows), began)

    def _run_wide(self, rows: list[Row[Sequence]], speculation: Speculation) -> Landing | None:
        """Runs rows with proposed tokens. Returns None if that fails, which leaves everything as it was."""
        began = time.monotonic()
        try:
            found = self._lookahead.at_once(rows)
            drawn = None if found is None else follow(rows, *found)
            if drawn is None:
                drawn = choose(rows, self._runner.run(rows))
        except Exception as error:
            require_device(error)
            if lacks_memory(error):
                let_go(error)
            log.warning("A step with proposed tokens failed and is repeated without: %r", error)
            speculation.withdraw(rows)
            return None
        for row in rows:
            self._scheduler.advance(Row(row.sequence, 1, decodes=True))
        return Landing(rows, drawn, began)

    def _run(self, rows: list[Row[Sequence]]) -> Drawn:
        try:
            drawn = choose(rows, self._runner.run(rows))
        except Exception as error:
            return self._repeat(rows, error)
        for row in rows:
            self._scheduler.advance(row)
        return drawn

    def _repeat(self, rows: list[Row[Sequence]], error: Exception) -> Drawn:
        require_device(error)
        lacking = lacks_memory(error)
        if lacking:
            self._ledger.lacked_memory()
            let_go(error)
        elif len(rows) == 1:
            self._ledger.fail(rows[0].sequence.group, error)
            return []
        log.warning("A step of %d rows failed and is repeated request by request", len(rows), exc_info=error)
        drawn, passed = self._apart(rows)
        if lacking and passed:
            self._scheduler.shrink(rows)
        return drawn

    def _apart(self, rows: list[Row[Sequence]]) -> tuple[Drawn, bool]:
        """Runs each request by itself. Returns the sampled tokens, and whether no request has failed."""
        drawn, passed = Drawn(), True
        for group in dict.fromkeys(row.sequence.group for row in rows):
            try:
                drawn += self._alone(group, [row for row in rows if row.sequence.group is group])
            except Exception as error:
                self._ledger.fail(group, error)
                passed = False
        return drawn, passed

    def _alone(self, group: SequenceGroup, rows: list[Row[Sequence]]) -> Drawn:
        for sequence in group.sequences:
            sequence.processors = None  # may have noted half a step; they are made anew from the tokens
        fitted: list[Row[Sequence]] = []
        logits: list[Tensor] = []
        for row in rows:
            if row.sequence in self._scheduler.running:  # else it has given its memory to another
                row, found = self._fit(row)
                fitted.append(row)
                logits.append(found)
        if not fitted:
            return []
        drawn = choose(fitted, torch.cat(logits))
        for row in fitted:
            self._scheduler.advance(row)
        return drawn

    def _fit(self, row: Row[Sequence]) -> tuple[Row[Sequence], Tensor]:
        """Runs a row, or the largest part of it that fits into memory. Returns that part and its logits."""
        while True:
            try:
                return row, self._runner.run([row])
            except Exception as error:
                if not lacks_memory(error):
                    raise
                if smaller := self._scheduler.halve(row):
                    row = smaller
                elif not self._scheduler.give_way(row.sequence):
                    raise
