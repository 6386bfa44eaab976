"""Being told to stop."""

import signal
import threading
from types import FrameType


def told_to_stop() -> threading.Event:
    """Returns an event that SIGINT and SIGTERM set from now on."""
    stop = threading.Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)
    return stop
