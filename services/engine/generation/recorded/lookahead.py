"""Decode steps that are launched before the tokens of the step in front of them are known."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory, let_go
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.launched_step import LaunchedStep, StepLauncher
from services.engine.generation.sampling.choice import Drawn
from services.engine.generation.sampling.device_choice import UNDECIDED, takes
from services.engine.generation.sampling.sampler import NoToken
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.speculation import Speculation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Flight:
    """A step on its way."""

    rows: list[Row[Sequence]]
    step: LaunchedStep
    lost: set[Sequence] = field(default_factory=set[Sequence])
    """Those that did not get the token which they go on from."""

    @property
    def wanted(self) -> list[Row[Sequence]]:
        """The rows whose tokens mean something."""
        return [row for row in self.rows if row.sequence not in self.lost]


@dataclass(frozen=True)
class Landing:
    """What a step has found for the rows that still want it.

    What is drawn behind the first token of a row tells that the one before was computed too.
    """

    rows: list[Row[Sequence]]
    drawn: Drawn
    began: float
    """When it was launched or the one in front of it was done, on the clock of `time.monotonic`."""


class Lookahead:
    """Keeps the GPU busy while tokens are handed out. Belongs to the engine's thread.

    A step of whose rows nothing but a token is wanted chooses them on the device, where the next one finds them. So
    that is launched before they are read, if all its rows decode; the one in front of it may have read prompts to their
    ends. What is known a step late, that a row has ended, costs the row a token that nobody asks for: it is thrown
    away, and what it has stored lies behind what is valid.

    A step with proposed tokens is behind none and has none behind it, as nobody knows how many of them will be chosen.
    """

    def __init__(
        self,
        launcher: StepLauncher | None,
        scheduler: Scheduler,
        pool: PagePool,
        lacked_memory: Callable[[], None],
        speculation: Speculation | None = None,
    ) -> None:
        """Does nothing without a launcher. `lacked_memory` is called where a step does not fit into memory.

        No step is launched behind another where `speculation` awaits its tokens.
        """
        self._speculation = speculation
        self._lacked_memory = lacked_memory
        self._launcher = launcher
        self._scheduler = scheduler
        self._pool = pool
        self._flying: _Flight | None = None
        self._failed = False
        self._landed = 0.0
        self.wait_seconds = 0.0
        """Time spent waiting for tokens so far."""

    @property
    def active(self) -> bool:
        """Whether there is a launcher."""
        return self._launcher is not None

    @property
    def rows(self) -> list[Row[Sequence]]:
        """The rows of the step that is on its way; none if there is none. No other step may be run before."""
        return self._flying.rows if self._flying else []

    def run(self, rows: list[Row[Sequence]]) -> Landing | None:
        """Returns what the step on its way finds, or else one of these rows, with the next one on its way if it can be.

        Returns None where these rows must be computed by themselves: nothing was done then.
        """
        current = self._flying or self._first(rows)
        self._flying = None
        if current is None:
            return None
        following = self._following(current.wanted)
        self._flying = self._launch(following, current.step) if following else None
        began = max(current.step.began, self._landed)
        try:
            tokens = self._tokens(current.step)
        except Exception as error:
            self._look_at(error)
            log.warning("A step that was launched has failed and is repeated: %r", error)
            self._flying, self._failed = None, True
            return Landing([], [], began)
        return self._land(current, tokens, began)

    def at_once(self, rows: list[Row[Sequence]]) -> list[int] | None:
        """Returns a token behind each token of these rows, chosen by a launched step; None where they cannot be one.

        No step may be on its way. Raises what the step raises.
        """
        if self._launcher is None or not all(takes(row.sequence) for row in rows):
            return None
        step = self._launcher.launch(rows)
        return None if step is None else self._tokens(step)

    def _tokens(self, step: LaunchedStep) -> list[int]:
        began = time.monotonic()
        tokens = step.tokens()
        self._landed = time.monotonic()
        self.wait_seconds += self._landed - began
        return tokens

    def _first(self, rows: list[Row[Sequence]]) -> _Flight | None:
        failed, self._failed = self._failed, False
        if failed or not all(_wants_no_logits(row) for row in rows):
            return None
        return self._launch(rows, None)

    def _following(self, rows: list[Row[Sequence]]) -> list[Row[Sequence]]:
        """Returns the rows of the step behind one of these; none if others may take part in it or pages are lacking.

        None too if it may have proposals. Sequences that will have all their tokens by then are left out.
        """
        scheduler, decoding = self._scheduler, {row.sequence for row in rows}
        if not decoding.issuperset(scheduler.running) or (scheduler.free_rows > 0 and scheduler.waiting):
            return []
        running = set(scheduler.running)
        if not all(row.completes for row in rows):
            return []
        staying = [row.sequence for row in rows if row.sequence in running and not row.sequence.ends_next]
        going = [Row(sequence, 1, decodes=True) for sequence in staying]
        if self._speculation is not None and self._speculation.awaits(going):
            return []
        grown = all(self._pool.grow(row.sequence.pages, len(row.sequence.token_ids) + 1) for row in going)
        return going if grown else []

    def _launch(self, rows: list[Row[Sequence]], after: LaunchedStep | None) -> _Flight | None:
        if self._launcher is None:
            return None
        try:
            step = self._launcher.launch(rows, after)
        except Exception as error:
            # As a step that is not launched ahead it is repeated, row by row at last.
            self._look_at(error)
            log.warning("A step of %d rows could not be launched: %r", len(rows), error)
            return None
        return _Flight(rows, step) if step else None

    def _look_at(self, error: Exception) -> None:
        require_device(error)
        if lacks_memory(error):
            self._lacked_memory()
            let_go(error)

    def _land(self, flight: _Flight, tokens: list[int], began: float) -> Landing:
        running = set(self._scheduler.running) - flight.lost
        landed: list[Row[Sequence]] = []
        drawn = Drawn()
        places = flight.step.places
        for row in flight.rows:
            sequence = row.sequence
            if sequence not in running:
                continue
            token = tokens[places[sequence]] if sequence in places else None
            if token == UNDECIDED:
                sequence.undecided = True
                if self._flying:
                    self._flying.lost.add(sequence)
                continue
            self._scheduler.advance(row)
            landed.append(row)
            if token is not None:
                drawn.append((sequence, (token if token >= 0 else NoToken.NOT_NUMBERS, None)))
        return Landing(landed, drawn, began)


def _wants_no_logits(row: Row[Sequence]) -> bool:
    """Returns whether all that is wanted of a row is a token, or only that it is computed."""
    return not row.scored and (not row.completes or takes(row.sequence))
