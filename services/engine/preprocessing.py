"""Threads for what is done to a request before and after the model, with a bound on how much of it waits."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from sensorium.call_record import phase
from services.engine.admission import Admission
from services.engine.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
"""More would take time from the model's thread on small machines."""
_BEGUN = 64
"""That may rest between their texts, so that a request of one text need not wait for one of hundreds."""


class Preprocessing:
    """Runs tokenizing, templating and the like off the event loop. No more may be in it than the queue may hold."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._executor = ThreadPoolExecutor(_BEGUN, thread_name_prefix="preprocessing")
        self._turns = Turns(AT_ONCE)

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Returns what `function` returns.

        Raises:
            QueueFull: as many requests as may wait are here already.
        """
        with self._admission.preparing(), phase("preprocess"):
            return await self.finish(function, *arguments, **named)

    def at_once(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Returns what `function` returns, which takes less time than a thread to wake. Raises what `run` raises."""
        with self._admission.preparing(), phase("preprocess"):
            return function(*arguments, **named)

    async def finish(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Returns what `function` returns, which makes an answer of what the model computed. It is never refused."""
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
        """Drops what has not begun and lets the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)
