"""Runs one request of a load test, from its submission to whatever end it has."""

import asyncio
from collections.abc import Callable
from typing import Any

from sensorium.errors import DeadlineExceeded
from tests.services.bench import Bench, read


async def lived(bench: Bench, prompt: list[int], fields: dict[str, Any], patience: Callable[[], float] | None) -> str:
    """Runs a request and returns how it ended. With `patience`, the caller cancels after that many seconds."""
    try:
        stream = bench.submit(prompt, **fields)
    except DeadlineExceeded:
        return "refused"
    try:
        if patience is not None:
            await asyncio.sleep(patience())
            return "cancelled"
        return "completed" if (await read(stream)).ids else "empty"
    except DeadlineExceeded:
        return "expired"
    finally:
        stream.cancel()
