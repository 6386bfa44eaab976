"""Admission: which calls come in, and when the last of them has left."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sensorium.errors import ModelNotReady, SensoriumError

_RETRY_AFTER_SECONDS = 1.0


class Gate:
    """Counts the calls inside and, once closed, refuses new ones.

    gRPC's own `stop` refuses at the connection, without a reason a client could read; this one says when to retry.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.failure: SensoriumError | None = None
        """What all calls are ended with, where the process can serve none any more."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        self.empty = asyncio.Event()
        """Set while no call is inside."""
        self.empty.set()

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Holds one call inside.

        Raises:
            ModelNotReady: the gate is closed; `retry_after` is set.
            SensoriumError: the failure of the process.
        """
        if self.failure is not None:
            raise self.failure
        if self.closed:
            metadata = {"state": "draining"}
            raise ModelNotReady("This server is shutting down.", metadata=metadata, retry_after=_RETRY_AFTER_SECONDS)
        task = asyncio.current_task()
        assert task is not None
        self.inside += 1
        self.empty.clear()
        self._tasks.add(task)
        try:
            yield
        finally:
            self.inside -= 1
            self._tasks.discard(task)
            if not self.inside:
                self.empty.set()

    def fail(self, failure: SensoriumError) -> None:
        """Ends all calls inside with `failure`, and refuses those that come with it."""
        self.failure = failure
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Refuses calls from now on; those inside stay."""
        self.closed = True
