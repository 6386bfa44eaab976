"""The engine: one thread that owns the model and takes all requests through it, step by step."""

import logging
import threading
import time
from collections import deque

import torch
from torch import Tensor

from sensorium.errors import (
    DeadlineExceeded,
    DeviceOutOfMemory,
    Internal,
    InvalidArgument,
    ModelNotReady,
    SensoriumError,
    Violation,
)
from services.engine.generation.admission import Admission
from services.engine.generation.delivery import Outbox
from services.engine.generation.likelihood import RawLikelihoods
from services.engine.generation.output import OutputBuilder
from services.engine.generation.page_pool import PagePool
from services.engine.generation.request import Completed, GenerationRequest, Likelihood
from services.engine.generation.runner import ModelRunner
from services.engine.generation.sampler import NoToken, sample
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.stream import GenerationStream
from services.engine.generation.structure_mask import structure_failure
from services.engine.metrics import EngineMetrics

log = logging.getLogger(__name__)

Sampled = tuple[int | NoToken, Likelihood | None]


class GenerationEngine:
    """Continuous batching over one model: requests join and leave at any step.

    `submit` is called on an event loop and returns at once; everything else happens in the engine's thread.
    """

    def __init__(
        self,
        runner: ModelRunner,
        scheduler: Scheduler,
        pool: PagePool,
        admission: Admission,
        metrics: EngineMetrics,
        *,
        unread_tokens: int = 1024,
    ) -> None:
        """Makes an engine that is started by `start`; a stream with more than `unread_tokens` waiting is ended."""
        self._runner = runner
        self._scheduler = scheduler
        self._pool = pool
        self.admission = admission
        self._metrics = metrics
        self._unread_tokens = unread_tokens
        self._outbox = Outbox()
        self._new: deque[Sequence] = deque()
        self._cancelled: deque[Sequence] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._step_since: float | None = None
        self._preemptions_seen = 0
        self._thread = threading.Thread(target=self._loop, name="generation-engine", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends what is still running with ModelNotReady, and the thread. Drain before calling this."""
        self.admission.closed = True
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def stuck(self, seconds: float) -> bool:
        """Returns whether one step has lasted longer than `seconds`, or the thread has ended by itself. Any thread."""
        since = self._step_since
        late = since is not None and time.monotonic() - since > seconds
        return late or (self._thread.ident is not None and not self._thread.is_alive() and not self._closing)

    def submit(self, request: GenerationRequest, output: OutputBuilder) -> GenerationStream:
        """Queues a request and returns the stream of its events.

        `output` has replayed the tokens that the request delivers. Raises what Admission.enter raises.
        """
        self.admission.enter(request.token_count, request.deadline)
        stream = GenerationStream(backlog_tokens=self._unread_tokens)
        sequence = Sequence(request, output, stream, arrival=time.monotonic())
        stream.on_cancel(lambda: self._post(self._cancelled, sequence))
        self._post(self._new, sequence)
        return stream

    def _post(self, box: deque[Sequence], sequence: Sequence) -> None:
        with self._wake:
            box.append(sequence)
            self._wake.notify()

    def _loop(self) -> None:
        while not self._closing:
            self._step_since = time.monotonic()
            try:
                worked = self._step()
            except Exception:
                log.exception("The engine's step failed outside the model; all its requests are ended")
                self._end_all(Internal())
                worked = True
            self._outbox.send()
            self._step_since = None
            if not worked:
                with self._wake:
                    self._wake.wait_for(lambda: self._new or self._cancelled or self._closing)
        self._end_all(ModelNotReady("The service is shutting down.", retry_after=1.0))
        self._outbox.send()

    def _step(self) -> bool:
        """Takes what came in, runs the model once, hands out what it generated. False if nothing was to be done."""
        self._receive()
        self._expire()
        rows = self._scheduler.schedule()
        if rows:
            began = time.monotonic()
            self._begin(rows, began)
            sampled = self._compute(rows)
            self._account(rows, time.monotonic() - began)
            for sequence, (token, likelihood) in sampled:
                self._deliver(sequence, token, likelihood)
        self._observe()
        return bool(rows)

    def _receive(self) -> None:
        while self._new:
            sequence = self._new.popleft()
            if sequence.ended:  # cancelled between two steps of this method
                continue
            if sequence.output.finish:
                self.admission.leave(sequence.request.token_count, started=True)
                self._complete(sequence)
            else:
                self._scheduler.add(sequence)
        while self._cancelled:
            self._end(self._cancelled.popleft(), "cancelled")

    def _expire(self) -> None:
        now = time.monotonic()
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            if sequence.request.deadline is not None and now >= sequence.request.deadline:
                self._end(sequence, "deadline_exceeded", DeadlineExceeded("The deadline passed."))

    def _begin(self, rows: list[Row[Sequence]], now: float) -> None:
        for sequence in (row.sequence for row in rows if row.sequence.first_scheduled is None):
            sequence.first_scheduled = now
            self._metrics.admitted(sequence.request.token_count, sequence.cached_count or 0)
            self.admission.leave(sequence.request.token_count, started=True)

    def _compute(self, rows: list[Row[Sequence]]) -> list[tuple[Sequence, Sampled]]:
        """Runs the rows and samples. A failure is retried row by row, so that only its cause ends."""
        try:
            logits = self._runner.run(rows)
            completed = [row.sequence for row in rows if row.completes]
            tokens = self._sample(logits, completed)
        except Exception as error:
            for row in rows:
                row.sequence.processors = None  # may have noted half a step; they are made anew from the tokens
            if len(rows) > 1:
                log.warning("A step of %d rows failed and is repeated row by row: %r", len(rows), error)
                return [pair for row in rows for pair in self._compute([row])]
            self._fail(rows[0].sequence, error)
            return []
        for row in rows:
            self._scheduler.advance(row)
        return list(zip(completed, tokens, strict=True))

    @torch.inference_mode()
    def _sample(self, logits: Tensor, sequences: list[Sequence]) -> list[Sampled]:
        if not sequences:
            return []
        raw = RawLikelihoods(logits, sequences)
        tokens = sample(logits, sequences)
        return list(zip(tokens, raw.of(tokens), strict=True))

    def _deliver(self, sequence: Sequence, token: int | NoToken, likelihood: Likelihood | None) -> None:
        """Takes a sampled token on. A failure, such as a tokenizer's, ends this sequence only."""
        try:
            self._advance(sequence, token, likelihood)
        except Exception as error:
            self._fail(sequence, error)

    def _advance(self, sequence: Sequence, token: int | NoToken, likelihood: Likelihood | None) -> None:
        """Appends a sampled token and hands out the text it releases."""
        if isinstance(token, NoToken):
            self._end_without(token, sequence)
            return
        sequence.token_ids.append(token)
        self._metrics.generation_tokens.inc()
        if sequence.first_output is None:
            sequence.first_output = time.monotonic()
        finish = sequence.output.push(token, likelihood)
        if delta := sequence.output.take():
            self._outbox.add(sequence.stream, delta)
        if finish:
            self._complete(sequence)

    def _end_without(self, token: NoToken, sequence: Sequence) -> None:
        """Ends a sequence for which there is no token: by the request's own doing, or by the model's."""
        if token is NoToken.ALL_FORBIDDEN:
            wrong = Violation("parameters", f"forbid every token at output position {sequence.output_count}")
            if failed := structure_failure(sequence.processors):
                wrong = Violation(failed.field, f"{failed.failure} (at output position {sequence.output_count})")
            self._end(sequence, "all_forbidden", InvalidArgument([wrong]))
        else:
            log.error("The model computed logits that are not numbers")
            self._end(sequence, "error", Internal())

    def _complete(self, sequence: Sequence) -> None:
        finish = sequence.output.finish
        assert finish is not None
        times = sequence.times(time.monotonic())
        input_count = len(sequence.request.prompt_token_ids)
        cached_count = min(sequence.cached_count or 0, input_count)
        event = Completed(finish, input_count, sequence.output_count, times, cached_count)
        self._metrics.completed(finish.reason.value, times, event.input_token_count, event.output_token_count)
        self._outbox.add(sequence.stream, event)
        self._leave(sequence)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """Ends the sequence whose row fails even when it runs alone."""
        if isinstance(error, torch.OutOfMemoryError):
            self._metrics.out_of_memory.inc()
            self._end(
                sequence, "out_of_memory", DeviceOutOfMemory("The device has too little memory for this request.")
            )
        else:
            log.error("One request failed", exc_info=error)
            self._end(sequence, "error", Internal())

    def _end(self, sequence: Sequence, reason: str, error: SensoriumError | None = None) -> None:
        """Ends a sequence early. Harmless if it has ended."""
        if sequence.ended:
            return
        if sequence.first_scheduled is None:
            self.admission.leave(sequence.request.token_count, started=False)
        self._metrics.requests.labels(reason).inc()
        if error:
            self._outbox.add(sequence.stream, error)
        self._leave(sequence)

    def _leave(self, sequence: Sequence) -> None:
        sequence.ended = True
        sequence.processors = None  # a stream that somebody keeps would keep their tensors
        self._scheduler.remove(sequence)

    def _end_all(self, error: SensoriumError) -> None:
        self._receive()
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            self._end(sequence, "error", error)

    def _account(self, rows: list[Row[Sequence]], seconds: float) -> None:
        for row in rows:
            row.sequence.compute_seconds += seconds
        self._metrics.steps.inc()
        self._metrics.batch_size.observe(len(rows))
        self._metrics.step_seconds.observe(seconds)

    def _observe(self) -> None:
        metrics = self._metrics
        metrics.requests_running.set(len(self._scheduler.running))
        metrics.requests_waiting.set(self.admission.requests)
        metrics.tokens_waiting.set(self.admission.tokens)
        metrics.kv_cache_usage.set(1 - self._pool.free_count / self._pool.page_count)
        metrics.preemptions.inc(self._scheduler.preemptions - self._preemptions_seen)
        self._preemptions_seen = self._scheduler.preemptions
