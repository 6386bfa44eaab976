"""gRPC's errors as ours."""

import grpc

from sensorium.errors import BackendLost, Cancelled, SensoriumError
from sensorium.status import from_rpc_error


def failure_of(error: grpc.RpcError, request_id: str) -> SensoriumError:
    """Returns `error` as the class of `sensorium.errors` it stands for, with the id of its request."""
    failure = from_rpc_error(error)
    failure.request_id = failure.request_id or request_id
    return failure


def cancelled(request_id: str) -> Cancelled:
    """Returns the error of a call that its caller cancelled."""
    failure = Cancelled("The caller cancelled the call.")
    failure.request_id = request_id
    return failure


def incomplete(request_id: str) -> BackendLost:
    """Returns the error of a stream that ended with OK and without `completed`: half an answer, which must not pass."""
    failure = BackendLost("The stream ended before it was complete.")
    failure.request_id = request_id
    return failure
