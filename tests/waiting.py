"""Polls for conditions, with generous timeouts for slow machines, and tells what a test that hangs waits for."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

PATIENCE = 600.0
"""Seconds to wait for what is certain to come: less than pytest's own limit, and far more than a slow machine needs."""


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Polls until `condition` returns True, less often the longer it waits. Raises TimeoutError after `seconds`."""
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread or process
            await asyncio.sleep(min(max(0.002, (time.monotonic() - started) / 50), 0.02))


@asynccontextmanager
async def watched(seconds: float = 100.0) -> AsyncIterator[None]:
    """Prints where all tasks and threads are, every `seconds` inside. pytest shows it of tests that fail."""
    watching = asyncio.ensure_future(_tell(seconds))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _tell(seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        print(f"Another {seconds:g} s have passed.", *_places(), sep="\n", file=sys.stderr)


def _places() -> Iterator[str]:
    for task in asyncio.all_tasks():
        yield f"{task.get_name()}:"
        yield from (f"  {place}" for place in _awaited(task.get_coro()))
    frames = sys._current_frames()
    for thread in threading.enumerate():
        yield f"Thread {thread.name}:"
        if thread.ident in frames:
            yield "".join(traceback.format_stack(frames[thread.ident])).rstrip()


def _awaited(coroutine: Any) -> Iterator[str]:
    """Yields where a task is, from its own coroutine to the innermost that it awaits."""
    while coroutine is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(coroutine, f"{kind}_frame")), "")
        frame = getattr(coroutine, f"{kind}_frame", None)
        yield (
            repr(coroutine)
            if frame is None
            else f"{frame.f_code.co_filename}:{frame.f_lineno} {coroutine.__qualname__}"
        )
        coroutine = getattr(coroutine, {"gi": "gi_yieldfrom"}.get(kind, f"{kind}_await"), None)
