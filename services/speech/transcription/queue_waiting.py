"""Retries on a full queue, so that a request that has begun does not fail because others fill the queue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sensorium.errors import QueueFull

T = TypeVar("T")

RETRY_SECONDS = 1.0
"""Wait before the next attempt if the error has no `retry_after`."""


async def waited_for(ask: Callable[[], Awaitable[T]], *, begun: bool = True) -> T:
    """Returns what `ask` returns. While the queue is full it retries if the request has `begun`, else it fails at once.

    Raises:
        QueueFull: the queue is full, and `begun` is false.
    """
    while True:
        try:
            return await ask()
        except QueueFull as full:
            if not begun:
                raise
            await asyncio.sleep(full.retry_after or RETRY_SECONDS)
