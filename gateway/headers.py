"""Which metadata pass the gateway.

Towards the endpoint: the request id and the trace context, unless it cannot be sent. `authorization` does not pass: a
caller's credential is meant for the gateway, and no replica should hold it. Back to the caller: everything the endpoint
sends, its status details among it, and the name of the endpoint that answered.
"""

from collections.abc import Iterable

from sensorium.rpc import REQUEST_ID, trace_headers
from sensorium.status import REQUEST_ID_KEY, STATUS_KEY

ENDPOINT_KEY = "x-sensorium-endpoint"
"""Initial metadata of an answer: HOST:PORT of the endpoint that gave it."""

Metadata = tuple[tuple[str, str | bytes], ...]

_TENANT_CHARACTERS = 128
_FORWARDED = frozenset({"traceparent", "tracestate"})


def towards_endpoint(received: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Returns the metadata of the endpoint's call, from those of the caller's, within the current attempt."""
    traced = trace_headers()
    passed = traced if traced is not None else tuple(pair for pair in received if _may_pass(*pair))
    return ((REQUEST_ID_KEY, REQUEST_ID.get()), *passed)


def _may_pass(key: str, value: str | bytes) -> bool:
    # gRPC would break the call off for a tab or a letter beyond ASCII, which HTTP/2 lets callers send.
    return key in _FORWARDED and isinstance(value, str) and value.isascii() and value.isprintable()


def tenant_of(received: Iterable[tuple[str, str | bytes]], key: str) -> str:
    """Returns who calls, as the metadata `key` tells; empty where it does not. Names that are longer are cut."""
    for name, value in received:
        if name == key:
            return str(value)[:_TENANT_CHARACTERS]
    return ""


def initial_to_caller(received: Iterable[tuple[str, str | bytes]], endpoint: str) -> Metadata:
    """Returns the initial metadata of the caller's call, from those of the endpoint's."""
    own = (REQUEST_ID_KEY, ENDPOINT_KEY)
    passed = tuple((key, value) for key, value in received if key not in own and not key.startswith("grpc-"))
    return ((REQUEST_ID_KEY, REQUEST_ID.get()), (ENDPOINT_KEY, endpoint), *passed)


def trailing_to_caller(received: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Returns the trailing metadata of the caller's call, from those of the endpoint's."""
    return tuple((key, value) for key, value in received if key == STATUS_KEY or not key.startswith("grpc-"))
