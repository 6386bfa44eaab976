"""The one thread that runs a model: how others wake it, and how they see that it still works."""

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
"""Factor on the time limit of steps that read inputs: these may be long, and kernels may be compiled."""


class ModelThread:
    """Runs `run`, which must return soon after `closing` is set. Other threads post to its queues and watch it."""

    def __init__(self, name: str, run: Callable[[], None], admission: Admission) -> None:
        self.closing = False
        self.busy_since: float | None = None
        """When the current step began, by `time.monotonic`; None between steps."""
        self.reads = True
        """Whether the current step reads inputs, and so may take longer."""
        self.fault: DeviceFault | None = None
        """The device's failure, after which the model is not run any more."""
        self._admission = admission
        self._ended = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    def start(self) -> None:
        """Starts it."""
        self._thread.start()

    def close(self) -> None:
        """Admits nobody any more and waits until the thread has ended, if it was ever started."""
        self._admission.closed = True
        with self._wake:
            self.closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def begin(self) -> float:
        """Notes that a step begins, by default one that reads, and returns when. Called in the model's thread."""
        self.reads = True
        began = self.busy_since = time.monotonic()
        return began

    def post(self, box: deque[T], letter: T) -> bool:
        """Appends `letter` to `box` and wakes the thread. Returns False if it has ended. Called in any thread."""
        with self._wake:
            if not self._ended:
                box.append(letter)
                self._wake.notify()
            return not self._ended

    def submit(self, box: deque[T], letter: T, cost: int) -> None:
        """Posts a letter that Admission counted as `cost`. After the end, counts it out and raises `farewell`."""
        if not self.post(box, letter):
            self._admission.leave(cost, started=False)
            raise self.farewell

    def end(self) -> None:
        """Admits nobody and takes no letters any more. Called in the model's thread before its last answers."""
        self._admission.closed = True
        with self._wake:
            self._ended = True

    def wait(self, *boxes: deque[Any], seconds: float | None = None) -> None:
        """Waits for a letter in one of the boxes, for `closing`, or for so many seconds."""
        with self._wake:
            self._wake.wait_for(lambda: any(boxes) or self.closing, seconds)

    @property
    def farewell(self) -> ModelNotReady:
        """The error of all requests that still wait when the thread ends."""
        said = "The service is shutting down." if self.fault is None else "The model has stopped working."
        return ModelNotReady(said, retry_after=1.0)

    def gave_up(self, error: Exception) -> bool:
        """Returns whether `error` shows that the device has failed, and notes it. Called in the model's thread."""
        try:
            require_device(error)
        except DeviceFault as fault:
            log.error("The device of the model has failed", exc_info=error)
            self.fault = fault
        return self.fault is not None

    def trouble(self, seconds: float) -> str:
        """Returns why it does not work, one of `faults.REASONS`; empty while it works. Called in any thread.

        The reason is what the device has reported, `hung` (a step has taken longer than `seconds`), or `ended`.
        """
        since = self.busy_since
        if self.fault is not None:
            return self.fault.reason
        if since is not None and time.monotonic() - since > (_LONG * seconds if self.reads else seconds):
            return "hung"
        return "ended" if self._thread.ident is not None and not self._thread.is_alive() and not self.closing else ""
