"""Receiving from a caller who may have stopped sending."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from sensorium.errors import DeadlineExceeded

T = TypeVar("T")


async def read_within(message: Awaitable[T], seconds: float) -> T:
    """Returns the next message of a stream. A caller whose machine is gone could be waited for for ever.

    Raises:
        DeadlineExceeded: it did not come in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await message
    except TimeoutError:
        raise DeadlineExceeded(f"No message of the stream came for {seconds:g} s; the stream was given up.") from None
