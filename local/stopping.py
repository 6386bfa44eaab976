"""Stopping by signal."""

import signal
import threading
from types import FrameType


def stop_on_signals() -> threading.Event:
    """Returns an event that SIGINT and SIGTERM set, instead of ending the process."""
    stop = threading.Event()

    def set_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, set_stop)
    return stop
