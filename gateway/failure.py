"""What it means that an endpoint failed a call."""

from dataclasses import dataclass

import grpc
from grpc import StatusCode

from gateway.resumption import CannotGoOn
from sensorium.errors import QueueFull
from sensorium.status import from_rpc_error

# A caller who cancels ends the gateway's task: a call that fails so was dropped by the endpoint, or on the way to it.
_LOST = frozenset({StatusCode.UNAVAILABLE, StatusCode.CANCELLED})
_BLAMED = _LOST | {StatusCode.INTERNAL, StatusCode.UNKNOWN}
_FULL_SECONDS = 1.0


class EndpointSilent(Exception):
    """An endpoint sent nothing of a stream for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came for {seconds:g} s")
        self.seconds = seconds


class NoAnswer(Exception):
    """An endpoint ended a call as if it had answered, and had not: without a message, with none, or in mid-stream."""

    def __init__(self) -> None:
        super().__init__("the call ended without its answer")


@dataclass(frozen=True)
class Failure:
    """One failed attempt.

    `reason` is the gRPC code's name; `SILENT` where the gateway gave the endpoint up, `NO_ANSWER` where the message
    was missing that ends an answer, `CANNOT_GO_ON` where it would not go on with another one's stream.
    """

    error: grpc.aio.AioRpcError | EndpointSilent | NoAnswer | CannotGoOn
    reason: str
    worked: bool | None
    """Whether the endpoint did its part all the same; None where that cannot be told."""
    elsewhere: bool
    """Whether another endpoint may do better."""
    lost: bool
    """Whether the endpoint is gone, as far as this call can tell."""
    full_seconds: float = 0.0
    """For how long the endpoint has no room for others either."""

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError | EndpointSilent | NoAnswer | CannotGoOn) -> "Failure":
        """Reads an error. What fails by a bug does not go elsewhere: it would meet the same bug there."""
        # The frames it went through hold the failure, once it is made: they would keep each other, and the request.
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
        # What it says is when its queue will be empty; a place in it is free much sooner.
        seconds = min(refusal.retry_after or _FULL_SECONDS, _FULL_SECONDS) if full else 0.0
        # A deadline is nobody's fault.
        worked = None if code is StatusCode.DEADLINE_EXCEEDED else code not in _BLAMED
        return cls(error, code.name, worked, elsewhere=lost or full, lost=lost, full_seconds=seconds)
