"""Decode steps that are launched before the tokens of the step in front of them are known."""

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
    """A step on its way."""

    rows: list[Row[Sequence]]
    step: LaunchedStep
    cohort: Cohort | None
    """Whose rows they are; None of a step that was launched behind none."""
    lost: set[Sequence] = field(default_factory=set[Sequence])
    """Those that did not get the token which they go on from."""


@dataclass(frozen=True)
class Landing:
    """What a step has found for the rows that still want it.

    What is drawn behind the first token of a row tells that the one before was computed too.
    """

    rows: list[Row[Sequence]]
    drawn: Drawn
    began: float
    """When it was launched or the one in front of it was done, on the clock of `time.monotonic`."""
    cohort: Cohort | None = None
    """Whose rows they are, if no output ends but of those that it has followed: only what these found is drawn."""
    tokens: list[int] = field(default_factory=list[int])
    """What was found for the cohort."""
    likelihoods: dict[int, Likelihood] = field(default_factory=dict[int, Likelihood])
    """How likely that was, by its places, where it is asked for."""


class Lookahead:
    """Keeps the GPU busy while tokens are handed out. Belongs to the engine's thread.

    A step of whose rows nothing but a token is wanted chooses them on the device, where the next one finds them. So
    that is launched before they are read, if all its rows decode; the one in front of it may have read prompts to their
    ends. What is known a step late, that a row has ended, costs the row a token that nobody asks for: it is thrown
    away, and what it has stored lies behind what is valid.

    What is forbidden behind tokens that the host has to look at, as it does for a structure, is told to a step that is
    on its way already: its tokens are chosen once those in front of them were handed out, and the next one is launched
    then.

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

    @property
    def cohort(self) -> Cohort | None:
        """Whose rows these are; None if no step is on its way, or one that was launched behind none."""
        return self._flying and self._flying.cohort

    def run(self, rows: list[Row[Sequence]]) -> Landing | None:
        """Returns what the step on its way finds, or else one of these rows, with the next one on its way if it can be.

        Returns None where these rows must be computed by themselves: nothing was done then.
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
            tokens = self._tokens(current.step)
        except Exception as error:
            self._look_at(error)
            log.warning("A step that was launched has failed and is repeated: %r", error)
            self._flying, self._failed = None, True
            return Landing([], [], began)
        return self._land(current, tokens, began)

    def at_once(self, rows: list[Row[Sequence]]) -> tuple[list[int], dict[int, Likelihood]] | None:
        """Returns a token behind each token of these rows, chosen by a launched step, and how likely some are.

        None where they cannot be one. No step may be on its way. Raises what the step raises.
        """
        if self._launcher is None or not all(takes_as_they_are(row.sequence) for row in rows):
            return None
        step = self._launcher.launch(rows)
        return None if step is None else (self._tokens(step), step.likelihoods())

    def close(self) -> None:
        """Ends the step on its way, if there is one: other ranks wait for what is chosen."""
        flying, self._flying = self._flying, None
        with suppress(Exception):  # nobody reads it
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
        """Returns whose step may be launched behind one; None if others may take part in it or pages are lacking.

        None too if it may have proposals. Sequences that will have all their tokens by then are left out.
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
            # As a step that is not launched ahead it is repeated, row by row at last.
            self._look_at(error)
            log.warning("A step of %d rows could not be launched: %r", len(rows), error)
            return None
        if cohort is not None:
            cohort.steps_left -= 1
        return _Flight(rows, step, cohort) if step else None

    def _look_at(self, error: Exception) -> None:
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
    """Returns whether all that is wanted of a row is a token, or only that it is computed."""
    return not row.scored and (not row.completes or takes(row.sequence))
