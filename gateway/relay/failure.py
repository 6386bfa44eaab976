"""Classifies a failed attempt: whose fault it is, and whether another endpoint may do better."""

from dataclasses import dataclass

import grpc
from grpc import StatusCode

from gateway.relay.resumption import CannotGoOn
from sensorium.errors import QueueFull
from sensorium.status import from_rpc_error

# A caller who cancels ends the gateway's own task. So CANCELLED from an endpoint means that it dropped the call.
_LOST = frozenset({StatusCode.UNAVAILABLE, StatusCode.CANCELLED})
_BLAMED = _LOST | {StatusCode.INTERNAL, StatusCode.UNKNOWN}
_FULL_SECONDS = 1.0


class EndpointSilent(Exception):
    """An endpoint sent no message of a stream for `seconds`, a limit of the settings."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came for {seconds:g} s")
        self.seconds = seconds


class NoAnswer(Exception):
    """An endpoint ended a call with OK, but without a valid message, or a stream before `completed`."""

    def __init__(self) -> None:
        super().__init__("the call ended without its answer")


@dataclass(frozen=True)
class Failure:
    """One failed attempt.

    `reason` is the name of the gRPC code, or `SILENT`, `NO_ANSWER` or `CANNOT_GO_ON` for the gateway's own exceptions.
    """

    error: grpc.aio.AioRpcError | EndpointSilent | NoAnswer | CannotGoOn
    reason: str
    worked: bool | None
    """Whether the endpoint is healthy nevertheless; None if the failure does not show that."""
    elsewhere: bool
    """Whether another endpoint may succeed."""
    lost: bool
    """Whether the endpoint seems to be gone."""
    full_seconds: float = 0.0
    """For how long the endpoint takes no further calls; 0 if it did not answer QUEUE_FULL."""

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError | EndpointSilent | NoAnswer | CannotGoOn) -> "Failure":
        """Classifies an error. INTERNAL and UNKNOWN are not retried: they are bugs, which other endpoints have too."""
        # The traceback's frames refer to this failure, so keeping it would make a cycle that keeps the request alive.
        error.__traceback__ = None
        if isinstance(error, CannotGoOn):
            return cls(error, "CANNOT_GO_ON", worked=True, elsewhere=True, lost=True)
        if isinstance(error, EndpointSilent):
            return cls(error, "SILENT", worked=False, elsewhere=True, lost=True)
        if isinstance(error, NoAnswer):
            return cls(error, "NO_ANSWER", worked=False, elsewhere=True, lost=True)
        code = error.code()
        lost = code in _LOST
        refusal = from_rpc_error(error) if code is StatusCode.RESOURCE_EXHAUSTED else None
        full = isinstance(refusal, QueueFull)
        # `retry_after` estimates when its queue will be empty; a place in the queue is free much sooner.
        seconds = min(refusal.retry_after or _FULL_SECONDS, _FULL_SECONDS) if full else 0.0
        # A deadline that passes says nothing about the endpoint.
        worked = None if code is StatusCode.DEADLINE_EXCEEDED else code not in _BLAMED
        return cls(error, code.name, worked, elsewhere=lost or full, lost=lost, full_seconds=seconds)
