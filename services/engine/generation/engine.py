"""The generation engine: one thread that runs the model for all requests, step by step."""

import logging
import sys
import time
from collections import deque

from sensorium.errors import DeadlineExceeded, Internal, SensoriumError
from services.engine.admission import Admission
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.computation import Computation
from services.engine.generation.group import SequenceGroup
from services.engine.generation.ledger import Ledger
from services.engine.generation.output.delivery import Outbox
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.progress import Progress
from services.engine.generation.recorded.launched_step import StepLauncher
from services.engine.generation.recorded.lookahead import Landing, Lookahead
from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.running.runner import Runner
from services.engine.generation.sampling.beam_search import BeamSearch
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.speculation import Speculation
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.media_queue import MediaQueue
from services.engine.threads.engine import Engine

log = logging.getLogger(__name__)

_SWITCH_SECONDS = 1e-4
"""Python's switch interval on a GPU, where steps take milliseconds: the event loop's thread yields sooner."""


class GenerationEngine(Engine):
    """Continuous batching over one model: requests join and leave at any step.

    `submit` is called on an event loop and returns at once; everything else happens in the engine's thread.
    """

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        pool: PagePool,
        admission: Admission,
        metrics: EngineMetrics,
        *,
        media: MediaQueue | None = None,
        unread_tokens: int = 1024,
        messages_per_second: int = 0,
        launcher: StepLauncher | None = None,
        speculation: Speculation | None = None,
    ) -> None:
        """Makes an engine; `start` starts it.

        A stream whose reader leaves more than `unread_tokens` unread is ended. All streams together are sent at most
        `messages_per_second` deltas; 0: any number. `media` encodes media in prompts, `launcher` launches decode steps
        ahead, `speculation` proposes tokens.
        """
        super().__init__("generation-engine", admission, metrics)
        self._runner, self._scheduler, self._media = runner, scheduler, media
        self._encoded, self._unread_tokens = False, unread_tokens
        self._pace, self._outbox = MessagePace(messages_per_second), Outbox()
        self._ledger = Ledger(scheduler, admission, metrics, self._outbox)
        if media is not None:
            media.lacked_memory = self._ledger.lacked_memory
        self._lookahead = Lookahead(launcher, scheduler, pool, self._ledger.lacked_memory, speculation)
        self._computation = Computation(runner, scheduler, self._ledger, self._lookahead, speculation)
        self._new, self._cancelled = deque[SequenceGroup](), deque[SequenceGroup]()
        self._progress = Progress(scheduler, self._ledger, self._outbox)
        self._preemptions_seen, self._forward_seen, self._generated_seen = 0, 0.0, 0
        metrics.requests_running.set_function(lambda: len(scheduler.running))
        metrics.kv_cache_usage.set_function(lambda: 1 - pool.free_count / pool.page_count)

    def start(self) -> None:
        """See Engine."""
        if self._lookahead.active:
            sys.setswitchinterval(_SWITCH_SECONDS)
        super().start()

    def submit(self, request: GenerationRequest, *outputs: OutputBuilder) -> GenerationStream:
        """Queues a request and returns the stream of its events.

        `outputs` are one builder for each candidate, which has replayed the delivered tokens of that candidate. A beam
        search uses only the first, which has replayed none. Raises what Admission.enter raises.
        """
        self.admission.enter(request.token_count, request.deadline)
        # Beams leave all at once at the end, and are no sign of a slow reader.
        at_once = request.candidate_count * request.stopping.max_new_tokens if request.beams else 0
        backlog = max(self._unread_tokens, at_once)
        stream = GenerationStream(backlog_tokens=backlog, pace=self._pace, outputs=len(outputs))
        group = SequenceGroup(request, outputs, stream, arrival=time.monotonic())
        stream.on_cancel(lambda: self._thread.post(self._cancelled, group))
        self._thread.submit(self._new, group, request.token_count)
        return stream

    def _loop(self) -> None:
        while not self._thread.closing:
            began = self._thread.begin()
            try:
                worked = self._step()
            except Exception as error:
                if self._thread.gave_up(error):
                    break
                log.exception("The engine's step failed outside the model; all its requests are ended")
                self._end_all(Internal())
                worked = True
            self._outbox.send()
            if worked:
                self._metrics.busy_seconds.inc(time.monotonic() - began)
            self._thread.busy_since = None
            if not worked:
                self._thread.wait(self._new, self._cancelled)
        else:
            self._lookahead.close()
        self._thread.end()
        self._end_all(self._thread.farewell)
        self._outbox.send()
        if self._media is not None:
            self._media.stop()

    def _step(self) -> bool:
        """Takes in new requests, runs the model once and sends its output. False: there was nothing to do."""
        self._receive()
        self._expire()
        encoded = self._encode()
        rows = self._lookahead.rows or self._scheduler.schedule()
        self._thread.reads = self._lookahead.cohort is None and not all(row.decodes for row in rows)
        if rows:
            self._compute(rows)
        for group, error in self._outbox.collect(soon=bool(self._lookahead.rows)):
            self._ledger.fail(group, error)
        self._observe()
        return bool(rows) or encoded

    def _compute(self, rows: list[Row[Sequence]]) -> None:
        """Runs the model, or takes the results of a step launched ahead, and hands them out."""
        began, worked = time.monotonic(), self._scheduler.budget.clock()
        if self._lookahead.cohort is None:  # whose sequences have tokens already
            self._begin(rows, began)
        landing = self._computation.run(rows)
        # What was launched before began earlier, on a GPU, where both clocks are the same.
        self._account(landing, worked + min(landing.began - began, 0.0))
        if landing.cohort is None:
            self._branch([row.sequence for row in landing.rows if row.sequence.branches])
        self._progress.take(landing)

    def _receive(self) -> None:
        while self._new:
            group = self._new.popleft()
            if not group.ended:  # cancelled between two steps of this method
                self._ledger.enter(group)
                self._prepare(group)
        while self._cancelled:
            self._ledger.end(self._cancelled.popleft(), "cancelled")

    def _prepare(self, group: SequenceGroup) -> None:
        """Makes a request ready to be scheduled, or lets it wait until its media are encoded."""
        if self._media is not None and group.request.media is not None and group.request.media.pending:
            self._media.add(group)
        else:
            self._ledger.begin(group)

    def _encode(self) -> bool:
        """Encodes some of the media that requests wait for, and begins requests whose media are all encoded."""
        if self._media is None:
            return False
        scheduler = self._scheduler
        decoding = sum(sequence.remaining == 1 for sequence in scheduler.running)
        # What a step may take beside streams is given to media and to prompts by turns.
        turn = not self._encoded or not (scheduler.waiting or decoding < len(scheduler.running))
        self._encoded = turn and self._media.step(scheduler.budget.seconds(decoding))
        for group, error in self._media.take():
            if error is not None:
                self._ledger.fail(group, error)
            else:
                self._ledger.begin(group)
        return self._encoded

    def _expire(self) -> None:
        for group in self._ledger.overdue(time.monotonic()):
            self._ledger.end(group, "deadline_exceeded", DeadlineExceeded("The deadline passed."))

    def _begin(self, rows: list[Row[Sequence]], now: float) -> None:
        for group in (row.sequence.group for row in rows if row.sequence.group.timeline.started is None):
            group.timeline.started = now
            self._metrics.admitted(group.request.token_count, group.cached_count or 0)
            self.admission.leave(group.request.token_count, started=True)

    def _branch(self, sequences: list[Sequence]) -> None:
        """Forks the followers of these sequences. A failure ends only its own request."""
        # Beams come last: they may take the pages of sequences that others are still to be forked from.
        for sequence in sorted(sequences, key=lambda one: one.group.search is not None):
            if not sequence.group.ended and not sequence.remaining:
                try:
                    self._fork(sequence, sequence.group)
                except Exception as error:
                    self._ledger.fail(sequence.group, error)

    def _fork(self, sequence: Sequence, group: SequenceGroup) -> None:
        if group.search is not None and group.search.chosen:
            self._extend(group, group.search)
        elif sequence.followers:
            self._runner.fork(self._scheduler.split(sequence))
        elif group.search is None:  # it was there for its prompt alone
            self._progress.tell_prompt(group)
            self._ledger.complete(group)

    def _extend(self, group: SequenceGroup, search: BeamSearch) -> None:
        """Extends a beam search by one token, or ends it with its result."""
        if search.broken:
            self._ledger.end_without(*search.broken)
            return
        self._progress.tell_prompt(group)
        for sequence in search.advance():
            self._scheduler.remove(sequence)
        if search.done:
            self._conclude(group)
            return
        group.sequences = [beam.sequence for beam in search.beams]
        pairs = [pair for sequence in group.sequences for pair in self._scheduler.split(sequence)]
        self._runner.fork([pair for pair in pairs if pair[1].pages])  # a split may cost its search all room

    def _conclude(self, group: SequenceGroup) -> None:
        for delta in group.conclude():
            self._metrics.generation_tokens.inc(len(delta.token_ids))
            self._outbox.add(group.stream, delta)
        group.timeline.first_output = time.monotonic()
        self._ledger.complete(group)

    def _end_all(self, error: SensoriumError) -> None:
        self._receive()
        for group in self._ledger.live:
            self._ledger.end(group, "error", error)

    def _account(self, landing: Landing, worked: float) -> None:
        rows, cohort = landing.rows, landing.cohort
        if not rows:  # all of a step that was launched ahead had ended by then
            return
        seconds = time.monotonic() - landing.began
        for work in cohort.works if cohort else [row.sequence.request.work for row in rows]:
            work.add(landing.began, seconds)
        self._metrics.steps.inc()
        self._metrics.batch_size.observe(len(rows))
        self._metrics.step_seconds.observe(seconds)
        worked = self._scheduler.budget.clock() - worked
        if cohort:
            self._scheduler.budget.observe(len(rows), 0, worked)
        else:
            self._scheduler.observe(rows, worked)

    def _observe(self) -> None:
        self._metrics.preemptions.inc(self._scheduler.preemptions - self._preemptions_seen)
        forward = self._runner.forward_seconds + self._lookahead.wait_seconds
        self._metrics.forward_seconds.inc(forward - self._forward_seen)
        self._metrics.generation_tokens.inc(self._progress.generated - self._generated_seen)
        self._preemptions_seen, self._forward_seen = self._scheduler.preemptions, forward
        self._generated_seen = self._progress.generated
