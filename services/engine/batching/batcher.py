"""The batcher: one thread that runs the model on the items of all requests, batch by batch."""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from sensorium.errors import DeadlineExceeded, DeviceOutOfMemory, Internal, SensoriumError
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.begun import BegunItems
from services.engine.batching.job import Computed, Item, Job, Unfinished, deliver
from services.engine.batching.pace import BatchPace
from services.engine.batching.queue import BatchLimits, Entry, ItemQueue
from services.engine.batching.wanted import Unwanted, asking
from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory, let_go
from services.engine.metrics import EngineMetrics
from services.engine.threads.engine import Engine

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.01
"""Time between two checks of deadlines while the model runs: checking all requests may take longer than a layer."""


class BatchRunner(Protocol):
    """Runs the model on items of one kind."""

    def run(self, items: Sequence[Item], /) -> Sequence[Any]:
        """Returns one output per item: Unfinished if it has a rest, None if its results are NaN or infinite.

        An output must not keep the memory of other outputs alive.

        Called in the batcher's thread.
        """
        ...


class Batcher(Engine):
    """Dynamic batching over one model: when the model is free, all or half of the queue (see pace) forms a batch.

    `run` is called on an event loop; everything else happens in the batcher's thread. A batch that is not full waits up
    to `wait_seconds` for more items; by default it does not wait.
    """

    admission: BatchAdmission  # type: ignore[override]

    def __init__(
        self,
        runner: BatchRunner,
        limits: BatchLimits,
        admission: BatchAdmission,
        metrics: EngineMetrics,
        *,
        wait_seconds: float = 0.0,
    ) -> None:
        super().__init__("batcher", admission, metrics)
        self._runner = runner
        self._limits = limits
        self._wait_seconds = wait_seconds
        self._queue = ItemQueue()
        self._begun = BegunItems()
        self._pace = BatchPace()
        self._goes_on = False
        """Whether the last batch was one of begun items."""
        self._new: deque[Job] = deque()
        self._cancelled: deque[Job] = deque()
        self._current: list[Entry] = []
        self._next_look = 0.0
        self._done: list[tuple[Job, Computed | SensoriumError]] = []
        metrics.requests_running.set_function(lambda: len(self._current))

    async def run(self, items: Sequence[Item], deadline: float | None, input_tokens: int = 0) -> Computed:
        """Returns the outputs of all items, of which there must be at least one.

        `input_tokens` is the number of their tokens together, for metrics.

        Raises what Admission.enter raises, and:
            DeadlineExceeded: The deadline passed before the last item was computed.
            DeviceOutOfMemory: One of the items does not fit into memory even alone.
            Internal: The model failed on one of the items.
        """
        assert items, "a request without items would never end"
        job = Job(items, deadline, time.monotonic(), asyncio.get_running_loop().create_future(), input_tokens)
        self.admission.enter(job.cost, deadline)
        self._thread.submit(self._new, job, job.cost)
        try:
            return await job.future
        finally:
            if job.future.cancelled():
                self._thread.post(self._cancelled, job)

    def _loop(self) -> None:
        while not self._thread.closing:
            self._receive()
            if (pause := self._pause()) is not None:
                self._send()
                self._thread.wait(self._new, self._cancelled, seconds=pause or None)
                continue
            self._thread.begin()
            try:
                self._step()
            except Exception as error:
                if self._thread.gave_up(error):
                    break
                log.exception("A batch failed outside the model; all requests are ended")
                self._end_all(Internal())
            self._send()
            self._thread.busy_since = None
        self._thread.end()
        self._receive()
        self._end_all(self._thread.farewell)
        self._send()

    def _pause(self) -> float | None:
        """Returns how many seconds to wait for more items: 0 means for ever, None that a batch is due now."""
        if self._begun:
            return None
        if not self._queue:
            return 0.0
        left = self._queue.longest_wait + self._wait_seconds - time.monotonic()
        full = len(self._queue) >= self._limits.items or self.admission.tokens >= self._limits.length
        return None if left <= 0 or full else left

    def _receive(self) -> None:
        while self._new:
            self._queue.add(self._new.popleft())
        while self._cancelled:
            self._end(self._cancelled.popleft(), "cancelled")
        now = time.monotonic()
        for job in self._jobs():
            if job.deadline is not None and now >= job.deadline:
                self._end(job, "deadline_exceeded", DeadlineExceeded("The deadline passed."))

    def _step(self) -> None:
        """Runs the next batch and answers the requests that it completes."""
        began = time.monotonic()
        entries = self._current = self._next(began)
        try:
            with asking(self._still_wanted):
                outputs = self._compute(entries)
        except Unwanted:
            self._metrics.busy_seconds.inc(time.monotonic() - began)
            self._current = []
            return
        seconds = time.monotonic() - began
        self._account(entries, seconds)
        for entry, output in zip(entries, outputs, strict=True):
            if isinstance(output, SensoriumError):
                reason = "out_of_memory" if isinstance(output, DeviceOutOfMemory) else "error"
                self._end(entry.job, reason, output)
            elif entry.job.ended:
                continue
            elif isinstance(output, Unfinished):
                self._put_back(replace(entry, item=output.rest))
            else:
                entry.job.outputs[entry.index] = output
        self._begun.worked_on(entries, seconds)
        now = time.monotonic()
        for job in dict.fromkeys(entry.job for entry in entries):
            if not job.ended and len(job.outputs) == len(job.items):
                self._complete(job, job.computed(now))
        self._current = []  # so that an idle batcher keeps no inputs alive

    def _next(self, now: float) -> list[Entry]:
        """Returns the next batch: alternately of new and of begun items if there are both."""
        self._goes_on = bool(self._begun) and not (self._goes_on and self._queue)
        limits = self._pace.limits(self._limits, len(self._queue.jobs), self.admission.tokens)
        entries = self._begun.take(self._limits) if self._goes_on else self._queue.take(limits)
        self._begin(entries, now)
        return entries

    def _jobs(self) -> list[Job]:
        """Returns all open requests, some of them possibly more than once."""
        return [*self._queue.jobs, *self._begun.jobs, *(entry.job for entry in self._current)]

    def _still_wanted(self) -> None:
        """Handles new requests, cancellations and deadlines during a batch. Raises Unwanted if all its jobs ended."""
        now = time.monotonic()
        if not self._cancelled and now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        self._receive()
        self._send()
        if all(entry.job.ended for entry in self._current):
            raise Unwanted

    def _begin(self, entries: list[Entry], now: float) -> None:
        for entry in entries:
            job = entry.job
            job.timeline.started = now if job.timeline.started is None else job.timeline.started
            job.untaken -= 1
            if not job.untaken:
                self.admission.leave(job.cost, started=True)
            if not self._goes_on:
                job.unbegun -= 1
                if not job.unbegun:
                    self.admission.begin(job.cost)

    def _put_back(self, entry: Entry) -> None:
        """Queues the rest of an unfinished item among the begun items."""
        job = entry.job
        if not job.untaken:
            self.admission.come_back(job.cost)
        job.untaken += 1
        self._begun.add(entry)

    def _compute(self, entries: list[Entry]) -> Sequence[Any]:
        """Returns for each entry its output, or the error that this entry alone caused."""
        try:
            outputs = self._runner.run([entry.item for entry in entries])
        except Unwanted:
            raise
        except Exception as error:
            require_device(error)
            if lacking := lacks_memory(error):
                self._metrics.out_of_memory.inc()
                let_go(error)
            log.warning("A batch of %d items failed and is repeated item by item", len(entries), exc_info=error)
        else:
            # NaN can spread to others of a batch. Those that have numbers by themselves are answered.
            return [self._alone(of) if output is None else output for of, output in zip(entries, outputs, strict=True)]
        outputs = [self._alone(entry) for entry in entries]
        if lacking and len(entries) > 1 and not any(isinstance(output, SensoriumError) for output in outputs):
            length = max(entry.item.length for entry in entries) * len(entries)
            self._limits = replace(self._limits, items=max(len(entries) // 2, 1), length=max(length // 2, 1))
            log.warning("Memory was lacking: batches are kept below %s from now on", self._limits)
        return outputs

    def _alone(self, entry: Entry) -> Any:
        said = {"request_id": entry.job.timeline.request_id}
        try:
            (output,) = self._runner.run([entry.item])
        except Unwanted:
            raise
        except Exception as error:
            require_device(error)
            if lacks_memory(error):
                return DeviceOutOfMemory("The device has not enough memory for this input.")
            log.exception("The model failed on an item by itself", extra=said)
            return Internal()
        if output is None:
            log.error("The model's results for an item by itself are NaN or infinite", extra=said)
            return Internal()
        return output

    def _account(self, entries: list[Entry], seconds: float) -> None:
        length = max(entry.item.length for entry in entries) * len(entries)
        if self._queue or not self._goes_on:
            self.admission.observe(0 if self._goes_on else length, seconds)
        self._pace.observe(length, seconds)
        for job in {entry.job for entry in entries}:
            job.compute += seconds
        metrics = self._metrics
        metrics.steps.inc()
        metrics.batch_size.observe(len(entries))
        metrics.step_seconds.observe(seconds)
        metrics.busy_seconds.inc(seconds)

    def _complete(self, job: Job, computed: Computed) -> None:
        self._leave(job)
        self._metrics.batched(computed.times, job.input_tokens, job.timeline.exemplar)
        self._done.append((job, computed))

    def _leave(self, job: Job) -> None:
        job.ended = True
        job.timeline.ended = time.monotonic()

    def _end(self, job: Job, reason: str, error: SensoriumError | None = None) -> None:
        if job.ended:
            return
        self._leave(job)
        if job.untaken:
            self.admission.leave(job.cost, started=False)
        if job.unbegun:
            self.admission.begin(job.cost)
        self._queue.drop(job)
        self._begun.drop(job)
        self._metrics.requests.labels(reason).inc()
        if error is not None:
            self._done.append((job, error))

    def _end_all(self, error: SensoriumError) -> None:
        for job in self._jobs():
            self._end(job, "error", error)
        self._current = []

    def _send(self) -> None:
        """Sends results, with one call per event loop. Results for a closed loop are dropped."""
        by_loop: defaultdict[asyncio.AbstractEventLoop, list[tuple[Job, Computed | SensoriumError]]] = defaultdict(list)
        for job, result in self._done:
            by_loop[job.future.get_loop()].append((job, result))
        self._done = []
        for loop, results in by_loop.items():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(deliver, results)
