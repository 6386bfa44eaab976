"""The requests that have not ended, and how each of them ends."""

import logging
import math
import time

from sensorium.errors import DeviceOutOfMemory, Internal, InvalidArgument, SensoriumError, Violation
from services.engine.admission import Admission
from services.engine.device.faults import require_device
from services.engine.device.memory_errors import lacks_memory
from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.delivery import Outbox
from services.engine.generation.sampling.sampler import NoToken
from services.engine.generation.sampling.structure_mask import structure_failure
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.sequence import Sequence
from services.engine.metrics import EngineMetrics

log = logging.getLogger(__name__)


class Ledger:
    """Holds each request from `enter` to its end, which happens once. Used in the engine's thread only."""

    def __init__(self, scheduler: Scheduler, admission: Admission, metrics: EngineMetrics, outbox: Outbox) -> None:
        self._scheduler = scheduler
        self._admission = admission
        self._metrics = metrics
        self._outbox = outbox
        self._live: dict[SequenceGroup, None] = {}
        self._first_deadline = math.inf  # of those that live, or before it

    @property
    def live(self) -> list[SequenceGroup]:
        """Requests that were entered and have not ended."""
        return list(self._live)

    def enter(self, group: SequenceGroup) -> None:
        """Adds a request."""
        self._live[group] = None
        self._first_deadline = min(self._first_deadline, _deadline(group))

    def overdue(self, now: float) -> list[SequenceGroup]:
        """Returns the requests whose deadline has passed, which the caller must end."""
        if now < self._first_deadline:
            return []
        late = [group for group in self._live if _deadline(group) <= now]
        self._first_deadline = min((each for group in self._live if (each := _deadline(group)) > now), default=math.inf)
        return late

    def begin(self, group: SequenceGroup) -> None:
        """Hands a request to the scheduler, or ends it if nothing is left to compute."""
        if first := group.open():
            self._scheduler.add(first)
        else:
            self._admission.leave(group.request.token_count, started=True)
            self.complete(group)

    def complete(self, group: SequenceGroup) -> None:
        """Ends a request whose outputs have all finished."""
        event = group.completed()
        longest = max(output.token_count for output in group.outputs)
        self._metrics.completed(
            event.finish.reason.value, event.times, event.input_token_count, longest, group.timeline.exemplar
        )
        self._outbox.add(group.stream, event)
        self._leave(group)

    def fail(self, group: SequenceGroup, error: Exception) -> None:
        """Ends the request that caused `error`.

        Raises:
            DeviceFault: it did not: the device has failed.
        """
        require_device(error)
        if isinstance(error, InvalidArgument):
            self.end(group, "invalid_argument", error)
        elif lacks_memory(error):
            self.end(group, "out_of_memory", DeviceOutOfMemory("The device has too little memory for this request."))
        else:
            log.error("One request failed", exc_info=error, extra={"request_id": group.timeline.request_id})
            self.end(group, "error", Internal())

    def lacked_memory(self) -> None:
        """Notes that a step did not fit into memory."""
        self._metrics.out_of_memory.inc()

    def end_without(self, token: NoToken, sequence: Sequence) -> None:
        """Ends a request because a sequence has no valid next token: its own rules forbid all, or the model failed."""
        if token is NoToken.ALL_FORBIDDEN:
            wrong = Violation("parameters", f"forbid every token at output position {sequence.output_count}")
            if failed := structure_failure(sequence.processors):
                wrong = Violation(failed.field, f"{failed.failure} (at output position {sequence.output_count})")
            self.end(sequence.group, "all_forbidden", InvalidArgument([wrong]))
        else:
            said = {"request_id": sequence.group.timeline.request_id}
            log.error("The model computed logits that are not numbers", extra=said)
            self.end(sequence.group, "error", Internal())

    def end(self, group: SequenceGroup, reason: str, error: SensoriumError | None = None) -> None:
        """Ends a request early. Does nothing if it has ended."""
        if group.ended:
            return
        if group.timeline.started is None:
            self._admission.leave(group.request.token_count, started=False)
        self._metrics.requests.labels(reason).inc()
        if error:
            self._outbox.add(group.stream, error)
        self._leave(group)

    def _leave(self, group: SequenceGroup) -> None:
        group.ended = True
        group.timeline.ended = time.monotonic()
        for sequence in group.sequences:
            self._scheduler.remove(sequence)
        # A stream that somebody keeps would keep their tensors.
        group.sequences, group.search, group.scoring = [], None, None
        self._live.pop(group, None)


def _deadline(group: SequenceGroup) -> float:
    return math.inf if group.request.deadline is None else group.request.deadline
