"""By which clock it is measured how long a model works."""

import time
from collections.abc import Callable

import torch


def work_clock(device: torch.device) -> Callable[[], float]:
    """Returns a clock in seconds, to be asked by the thread that runs the model.

    On a processor that is the thread's own time there: the same whoever else is on the machine, the server's own event
    loop among them. Of a GPU's work it would say little: there it is `time.monotonic`.
    """
    return time.thread_time if device.type == "cpu" else time.monotonic
