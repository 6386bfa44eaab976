"""The one thread that owns a model, its letterbox, and its heartbeat."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from sensorium.errors import ModelNotReady
from services.engine.admission import Admission
from services.engine.device.faults import DeviceFault, require_device

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONG = 10.0
"""Times as long as others a step may take that reads: its length is the caller's doing, and kernels may be compiled."""


class ModelThread:
    """Runs `run`, which must return soon after `closing` is set. Others leave letters in boxes and look after it."""

    def __init__(self, name: str, run: Callable[[], None], admission: Admission) -> None:
        self.closing = False
        self.busy_since: float | None = None
        """When the step began that is being worked on, on the clock of `time.monotonic`; None between steps."""
        self.reads = True
        """Whether the step that is being worked on may take longer than others."""
        self.fault: DeviceFault | None = None
        """Why it has given up its model."""
        self._admission = admission
        self._ended = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    def start(self) -> None:
        """Starts it."""
        self._thread.start()

    def close(self) -> None:
        """Lets it end and nobody in, and waits for that. One that was never started has nothing to end."""
        self._admission.closed = True
        with self._wake:
            self.closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def begin(self) -> float:
        """Begins a step that reads, until it is said otherwise, and returns when. The thread that owns the model."""
        self.reads = True
        began = self.busy_since = time.monotonic()
        return began

    def post(self, box: deque[T], letter: T) -> bool:
        """Puts a letter into a box and wakes the thread. Returns False where it would not be read. Any thread."""
        with self._wake:
            if not self._ended:
                box.append(letter)
                self._wake.notify()
            return not self._ended

    def submit(self, box: deque[T], letter: T, cost: int) -> None:
        """Posts what was counted in and waits for an answer. Counts it out and raises `farewell` if none would come."""
        if not self.post(box, letter):
            self._admission.leave(cost, started=False)
            raise self.farewell

    def end(self) -> None:
        """Lets nobody in any more, so that the letters that are there are the last. The thread that owns the model."""
        self._admission.closed = True
        with self._wake:
            self._ended = True

    def wait(self, *boxes: deque[Any], seconds: float | None = None) -> None:
        """Returns when there is a letter in a box, when `closing` is set, or when so much time has passed."""
        with self._wake:
            self._wake.wait_for(lambda: any(boxes) or self.closing, seconds)

    @property
    def farewell(self) -> ModelNotReady:
        """What everybody is told who still waits when it ends."""
        said = "The service is shutting down." if self.fault is None else "The model has stopped working."
        return ModelNotReady(said, retry_after=1.0)

    def gave_up(self, error: Exception) -> bool:
        """Returns whether `error` is the device's end, and notes it. The thread that owns the model."""
        try:
            require_device(error)
        except DeviceFault as fault:
            log.error("The device of the model has failed", exc_info=error)
            self.fault = fault
        return self.fault is not None

    def trouble(self, seconds: float) -> str:
        """Returns why it does not work, one of `faults.REASONS`, or nothing where it does. Any thread.

        That is what its device has reported, a step that has lasted longer than `seconds`, or its end by itself.
        """
        since = self.busy_since
        if self.fault is not None:
            return self.fault.reason
        if since is not None and time.monotonic() - since > (_LONG * seconds if self.reads else seconds):
            return "hung"
        return "ended" if self._thread.ident is not None and not self._thread.is_alive() and not self.closing else ""
