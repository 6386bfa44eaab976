"""Who is told of calls, such as a process's metrics."""

from typing import Protocol

from grpc import StatusCode


class CallObserver(Protocol):
    """Is told of every call but those of gRPC's own services (health, reflection), in the task that serves it.

    `method` is a method that is served here, such as `/sensorium.v1.TextService/Generate`: its values are bounded.
    """

    def started(self, method: str) -> None:
        """A call arrived. It may still be refused."""
        ...

    def finished(self, method: str, code: StatusCode, seconds: float) -> None:
        """A call that was `started` ended; exactly once each.

        `code` is CANCELLED where the caller went away, DEADLINE_EXCEEDED where its deadline passed.
        """
        ...


class NobodyObserves:
    """The observer that does nothing."""

    def started(self, method: str) -> None:
        """Does nothing."""

    def finished(self, method: str, code: StatusCode, seconds: float) -> None:
        """Does nothing."""
