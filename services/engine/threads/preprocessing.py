"""Threads for the work on a request before and after the model, and a bound on how many requests may wait there."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from sensorium.call_record import phase
from services.engine.admission import Admission
from services.engine.threads.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
"""Tasks that run at the same time. More would take CPU time from the model's thread on small machines."""
_BEGUN = 64
"""Tasks that may be started: they yield between texts, so that a short one need not wait for hundreds of texts."""


class Preprocessing:
    """Runs tokenizing, templating and the like off the event loop, for as many requests as the queue may hold."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._executor = ThreadPoolExecutor(_BEGUN, thread_name_prefix="preprocessing")
        self._turns = Turns(AT_ONCE)

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs `function` in a thread and returns its result.

        Raises:
            QueueFull: as many requests as may wait are here already.
        """
        with self._admission.preparing(), phase("preprocess"):
            return await self.finish(function, *arguments, **named)

    def at_once(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs `function` on the event loop: for work shorter than waking a thread. Raises what `run` raises."""
        with self._admission.preparing(), phase("preprocess"):
            return function(*arguments, **named)

    async def finish(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs `function` in a thread, after the model: like `run`, but never refused."""
        given_up = False

        def work() -> T:
            with self._turns.worked(lambda: given_up):
                return function(*arguments, **named)

        try:
            return await asyncio.wrap_future(self._executor.submit(work))
        except asyncio.CancelledError:
            given_up = True
            raise

    def close(self) -> None:
        """Drops tasks that have not begun, and ends the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)
