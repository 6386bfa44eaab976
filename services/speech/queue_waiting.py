"""What is begun does not fail because others fill the queue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sensorium.errors import QueueFull

T = TypeVar("T")

RETRY_SECONDS = 1.0
"""Where the queue does not tell when there may be room."""


async def waited_for(ask: Callable[[], Awaitable[T]], *, begun: bool = True) -> T:
    """Returns what comes of asking the model, again and again where the queue is full. Not `begun`, it is asked once.

    Raises:
        QueueFull: it is full, and nothing was begun.
    """
    while True:
        try:
            return await ask()
        except QueueFull as full:
            if not begun:
                raise
            await asyncio.sleep(full.retry_after or RETRY_SECONDS)
