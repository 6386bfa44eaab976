"""Launches decode steps before the tokens of the step in front of them are known."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory, let_go
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.cohort import Cohort
from services.engine.generation.recorded.launched_step import LaunchedStep, StepLauncher
from services.engine.generation.requests.request import Likelihood
from services.engine.generation.sampling.choice import Drawn, launched
from services.engine.generation.sampling.device_choice import UNDECIDED, takes, takes_as_they_are
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.speculation import Speculation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Flight:
    """A step that is running."""

    rows: list[Row[Sequence]]
    step: LaunchedStep
    cohort: Cohort | None
    """The cohort whose rows they are; None if the step was not launched behind another."""
    lost: set[Sequence] = field(default_factory=set[Sequence])
    """Sequences whose token of the step before was not decided, so that their token of this step is void."""


@dataclass(frozen=True)
class Landing:
    """The results of a step, for the rows that still need them.

    A token drawn behind the first one of a row means that the token before was computed too.
    """

    rows: list[Row[Sequence]]
    drawn: Drawn
    began: float
    """When the step was launched or the one before it was done, whichever is later, as `time.monotonic` seconds."""
    cohort: Cohort | None = None
    """The cohort of the rows, if only followed outputs may end with this step. `drawn` then has only the followed
    sequences.
    """
    tokens: list[int] = field(default_factory=list[int])
    """The tokens of the whole cohort."""
    likelihoods: dict[int, Likelihood] = field(default_factory=dict[int, Likelihood])
    """Likelihoods by index in `tokens`, where they are asked for."""


class Lookahead:
    """Keeps the GPU busy while tokens are delivered. Belongs to the engine's thread.

    If a step's rows need nothing but a token, the token is chosen on the device, where the next step finds it. So the
    next step is launched before the tokens are read, if all of its rows decode; the step before it may have finished
    prompts. If it turns out a step late that a row has ended, its further token is discarded, and what that token has
    stored is behind the valid part of the cache.

    If the host has to look at a token to know what may follow it, as for structured output, the next step is launched
    without a choice. Its tokens are chosen after those before them are delivered, and only then is another step
    launched.

    A step with proposed tokens runs alone, since it is not known before how many of them will be accepted.
    """

    def __init__(
        self,
        launcher: StepLauncher | None,
        scheduler: Scheduler,
        pool: PagePool,
        lacked_memory: Callable[[], None],
        speculation: Speculation | None = None,
    ) -> None:
        """Without a launcher it does nothing. `lacked_memory` is called if a step runs out of memory.

        No step is launched behind another while `speculation` waits for its tokens to propose further ones.
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
        """Seconds spent waiting for tokens so far."""

    @property
    def active(self) -> bool:
        """Whether there is a launcher."""
        return self._launcher is not None

    @property
    def rows(self) -> list[Row[Sequence]]:
        """The rows of the running step; empty if there is none. No other step may run before it is finished."""
        return self._flying.rows if self._flying else []

    @property
    def cohort(self) -> Cohort | None:
        """The cohort of the running step; None if there is no step, or if it was not launched behind another."""
        return self._flying.cohort if self._flying is not None else None

    def run(self, rows: list[Row[Sequence]]) -> Landing | None:
        """Returns the results of the running step, or else of a step of `rows`, and launches the next step if possible.

        Returns None, with nothing done, if these rows have to be computed by an ordinary step.
        """
        current = self._flying or self._first(rows)
        self._flying = None
        if current is None:
            return None
        began = max(current.step.began, self._landed)
        try:
            current = replace(current, step=current.step.finished())
            following = self._following(current)
            self._flying = self._launch(following.rows, current.step, following) if following else None
            if current.cohort is None:
                self._scheduler.foresee(current.rows)
            tokens = self._tokens(current.step)
        except Exception as error:
            self._note_failure(error)
            log.warning("A launched step has failed and is repeated: %r", error)
            self._flying, self._failed = None, True
            return Landing([], [], began)
        return self._land(current, tokens, began)

    def at_once(self, rows: list[Row[Sequence]]) -> tuple[list[int], dict[int, Likelihood]] | None:
        """Runs a launched step and returns a token behind each output of the rows, and the likelihoods that are asked
        for.

        Returns None if these rows cannot be launched. No step may be running. Raises what the step raises.
        """
        if self._launcher is None or not all(takes_as_they_are(row.sequence) for row in rows):
            return None
        step = self._launcher.launch(rows)
        return None if step is None else (self._tokens(step), step.likelihoods())

    def close(self) -> None:
        """Finishes the running step, if there is one, since other ranks wait for its choice of tokens."""
        flying, self._flying = self._flying, None
        with suppress(Exception):  # nobody reads its tokens
            if flying:
                flying.step.finished()

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
        return self._launch(rows)

    def _following(self, flight: _Flight) -> Cohort | None:
        """Returns the cohort of the step that may be launched behind `flight`, or None.

        None if other sequences may join, if pages are lacking, or if the step may have proposals. Sequences that will
        have all of their tokens by then are left out.
        """
        running, decoding = self._scheduler.running, flight.step.sequences
        if flight.lost or self._scheduler.admits or not (decoding == running or set(decoding).issuperset(running)):
            return None
        cohort = flight.cohort
        if cohort is None or cohort.steps_left == 0 or cohort.sequences != running:
            staying = [sequence for sequence in running if not sequence.ends_next]
            cohort = Cohort(staying) if staying else None
        if cohort is None or (cohort.looks_up and self._speculation and self._speculation.awaits(cohort.rows)):
            return None
        size = self._pool.page_size
        full = [one for one in cohort.sequences if len(one.token_ids) >= len(one.pages) * size]
        return cohort if all(self._pool.grow(one.pages, len(one.token_ids) + 1) for one in full) else None

    def _launch(
        self, rows: list[Row[Sequence]], after: LaunchedStep | None = None, cohort: Cohort | None = None
    ) -> _Flight | None:
        if self._launcher is None:
            return None
        try:
            step = self._launcher.launch(rows, after)
        except Exception as error:
            # The rows are computed by an ordinary step instead, which at last is retried row by row.
            self._note_failure(error)
            log.warning("A step of %d rows could not be launched: %r", len(rows), error)
            return None
        if cohort is not None:
            cohort.steps_left -= 1
        return _Flight(rows, step, cohort) if step else None

    def _note_failure(self, error: Exception) -> None:
        """Raises DeviceFault if the device is lost. After a lack of memory it reports that, and frees what the error
        holds.
        """
        require_device(error)
        if lacks_memory(error):
            self._lacked_memory()
            let_go(error)

    def _land(self, flight: _Flight, tokens: list[int], began: float) -> Landing:
        cohort, likelihoods = flight.cohort, flight.step.likelihoods()
        if cohort is not None and self.cohort is cohort and cohort.goes_on(tokens):
            self._scheduler.advance_each(cohort.sequences)
            followed = [(cohort.sequences[i], launched(tokens[i], likelihoods.pop(i, None))) for i in cohort.followed]
            return Landing(cohort.rows, followed, began, cohort, tokens, likelihoods)
        running = set(self._scheduler.running) - flight.lost
        landed: list[Row[Sequence]] = []
        drawn = Drawn()
        places = flight.step.places
        for row in flight.rows:
            sequence = row.sequence
            if sequence not in running:
                continue
            place = places.get(sequence)
            if place is not None and tokens[place] == UNDECIDED:
                sequence.leave_undecided()
                if self._flying:
                    self._flying.lost.add(sequence)
                continue
            self._scheduler.advance(row)
            landed.append(row)
            if place is not None:
                drawn.append((sequence, launched(tokens[place], likelihoods.get(place))))
        return Landing(landed, drawn, began)


def _wants_no_logits(row: Row[Sequence]) -> bool:
    """Returns whether a row needs only a token, or only has to be computed."""
    return not row.scored and (not row.completes or takes(row.sequence))
