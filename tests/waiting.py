"""Polls for conditions, with generous timeouts for slow machines."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Polls until `condition` returns True. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread or process
            await asyncio.sleep(0.002)
