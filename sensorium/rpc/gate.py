"""Admission: which calls come in, and when the last of them has left."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from sensorium.errors import ModelNotReady

_RETRY_AFTER_SECONDS = 1.0


class Gate:
    """Counts the calls inside and, once closed, refuses new ones.

    gRPC's own `stop` refuses at the connection, without a reason a client could read; this one says when to retry.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.closed = False
        self.empty = asyncio.Event()
        """Set while no call is inside."""
        self.empty.set()

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Holds one call inside.

        Raises:
            ModelNotReady: the gate is closed; `retry_after` is set.
        """
        if self.closed:
            metadata = {"state": "draining"}
            raise ModelNotReady("This server is shutting down.", metadata=metadata, retry_after=_RETRY_AFTER_SECONDS)
        self.inside += 1
        self.empty.clear()
        try:
            yield
        finally:
            self.inside -= 1
            if not self.inside:
                self.empty.set()

    def close(self) -> None:
        """Refuses calls from now on; those inside stay."""
        self.closed = True
