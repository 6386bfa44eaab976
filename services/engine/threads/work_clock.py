"""The clock that measures how long a model works."""

import time
from collections.abc import Callable

import torch


def work_clock(device: torch.device) -> Callable[[], float]:
    """Returns a clock in seconds, to be called in the thread that runs the model.

    On a CPU it is the thread's CPU time, which does not depend on other load, such as the server's event loop. It would
    not count a GPU's work: there the clock is `time.monotonic`.
    """
    return time.thread_time if device.type == "cpu" else time.monotonic
