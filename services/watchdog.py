"""Ends a process whose model has stopped working, so that its supervisor restarts it."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

log = logging.getLogger(__name__)

DEVICE_FAILED = 3
"""Exit code after an error of the device that no later call survives."""
STEP_HUNG = 4
"""Exit code where a step did not end, or the thread of the model has ended."""
_LOOK_SECONDS = 0.5
_LEAST_NET_SECONDS = 30.0
"""The least time in which no thread runs before the process is ended: it may have been stopped from outside."""
_LEFT = 10.0
"""After a pause of the process, a step is given the time of the pause, but at most so many times its limit."""
_FAREWELL_SECONDS = 5.0
"""Time to end all calls; an event loop that takes longer is stuck itself."""
_OF_THE_ENGINE = ("hung", "ended")


class Watchdog:
    """Watches a model from a thread of its own.

    It also ends a process that runs no thread at all for twice as long as a step may take, because an extension keeps
    the interpreter's lock. If the whole process was stopped from outside, as with its machine, the time of the pause
    does not count as the step's.
    """

    def __init__(
        self,
        trouble: Callable[[], str],
        farewell: Callable[[str], "Future[None]"],
        seconds: float,
        leave: Callable[[int], object] | None = None,
    ) -> None:
        """Starts the thread.

        Args:
            trouble: Returns in a word why the model does not work; empty while it does. Called in the new thread.
            farewell: Begins to end all calls for a reason, and returns a future that is done when they have ended.
            seconds: The longest time of a step.
            leave: Ends the process at once with an exit code; a normal exit would wait for the device.
        """
        self._trouble, self._farewell, self._seconds, self._leave = trouble, farewell, seconds, leave or _leave
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._stopped.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        # faulthandler's timer needs no interpreter lock, unlike all else here.
        net = max(2 * self._seconds, _LEAST_NET_SECONDS)
        look, looked, until = min(_LOOK_SECONDS, self._seconds / 4), time.monotonic(), 0.0
        while not self._stopped.wait(look):
            faulthandler.dump_traceback_later(net, exit=True, file=2)
            now = time.monotonic()
            if (late := now - looked - look) > _LOOK_SECONDS:
                until = now + min(late, _LEFT * self._seconds)
            looked = now
            reason = self._trouble()
            if reason and (reason != "hung" or now >= until):
                self._end(reason)
                return

    def _end(self, reason: str) -> None:
        code = STEP_HUNG if reason in _OF_THE_ENGINE else DEVICE_FAILED
        log.critical(
            "The model has stopped working (%s): all calls are ended, then the process, with code %d", reason, code
        )
        if code == STEP_HUNG:
            faulthandler.dump_traceback(2, all_threads=True)
        try:
            self._farewell(reason).result(_FAREWELL_SECONDS)
        except Exception as error:
            log.error("Not all calls could be told: %r", error)
        self._leave(code)


def _leave(code: int) -> None:
    logging.shutdown()  # writes what waits, for a bounded time
    os._exit(code)
