"""Which gRPC metadata the gateway forwards, in both directions.

To the endpoint: the request id, and the trace context if it is valid metadata. `authorization` is not forwarded: the
caller's credential is for the gateway, and no replica should see it. To the caller: everything the endpoint sends,
including status details, and the address of the endpoint that answered.
"""

from collections.abc import Iterable

from sensorium.rpc import REQUEST_ID, trace_headers
from sensorium.status import REQUEST_ID_KEY, STATUS_KEY

ENDPOINT_KEY = "x-sensorium-endpoint"
"""Key of initial metadata: HOST:PORT of the endpoint that answered."""

Metadata = tuple[tuple[str, str | bytes], ...]

_TENANT_CHARACTERS = 128
_FORWARDED = frozenset({"traceparent", "tracestate"})


def towards_endpoint(received: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Returns the metadata for the endpoint's call, from the caller's `received` and the current attempt's trace."""
    traced = trace_headers()
    passed = traced if traced is not None else tuple(pair for pair in received if _may_pass(*pair))
    return ((REQUEST_ID_KEY, REQUEST_ID.get()), *passed)


def _may_pass(key: str, value: str | bytes) -> bool:
    # HTTP/2 lets callers send tabs and non-ASCII bytes, but gRPC would fail the call for them.
    return key in _FORWARDED and isinstance(value, str) and value.isascii() and value.isprintable()


def tenant_of(received: Iterable[tuple[str, str | bytes]], key: str) -> str:
    """Returns the tenant, the value of metadata `key` cut to 128 characters; empty if it is absent."""
    for name, value in received:
        if name == key:
            return str(value)[:_TENANT_CHARACTERS]
    return ""


def initial_to_caller(received: Iterable[tuple[str, str | bytes]], endpoint: str) -> Metadata:
    """Returns the initial metadata for the caller, from the endpoint's `received` and its address `endpoint`."""
    own = (REQUEST_ID_KEY, ENDPOINT_KEY)
    passed = tuple((key, value) for key, value in received if key not in own and not key.startswith("grpc-"))
    return ((REQUEST_ID_KEY, REQUEST_ID.get()), (ENDPOINT_KEY, endpoint), *passed)


def trailing_to_caller(received: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Returns the trailing metadata for the caller, from the endpoint's `received`."""
    return tuple((key, value) for key, value in received if key == STATUS_KEY or not key.startswith("grpc-"))
