"""How a call has ended, by what its server has sent for an end, or has not sent."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import grpc
from grpc import StatusCode

from sensorium.rpc.http2.frames import ErrorCode
from sensorium.rpc.http2.metadata import Header, Pairs, received

_NAMES = {code.value: code.name for code in ErrorCode}
_CODES = {str(code.value[0]).encode(): code for code in StatusCode}

# What gRPC makes of answers that are none of its own (doc/http-grpc-status-mapping.md there).
_HTTP = {
    b"400": StatusCode.INTERNAL,
    b"401": StatusCode.UNAUTHENTICATED,
    b"403": StatusCode.PERMISSION_DENIED,
    b"404": StatusCode.UNIMPLEMENTED,
    # Not gRPC's: a proxy finds the message or its metadata too large, which is their sender's doing.
    b"413": StatusCode.RESOURCE_EXHAUSTED,
    b"431": StatusCode.RESOURCE_EXHAUSTED,
    b"429": StatusCode.UNAVAILABLE,
    b"502": StatusCode.UNAVAILABLE,
    b"503": StatusCode.UNAVAILABLE,
    b"504": StatusCode.UNAVAILABLE,
}

# And of streams that are reset (doc/PROTOCOL-HTTP2.md there). All others are INTERNAL.
_RESETS: dict[int, StatusCode] = {
    ErrorCode.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


class Outcome(NamedTuple):
    """The status of a call."""

    code: StatusCode
    details: str = ""
    trailing: Pairs = ()

    def error(self, initial: Pairs = ()) -> grpc.aio.AioRpcError:
        """Returns it as grpc.aio raises it; `initial` are the metadata that came before the messages."""
        before: Any = initial
        behind: Any = self.trailing
        return grpc.aio.AioRpcError(self.code, before, behind, self.details)


def told(http_status: bytes, headers: Iterable[Header]) -> Outcome:
    """Returns what the headers say that a stream ends with, or that are no gRPC at all.

    Raises:
        Malformed: binary metadata are not in base64.
    """
    found = dict(headers)
    trailing = received(headers)
    status = found.get(b"grpc-status")
    if status is not None:
        details = unquote_to_bytes(found.get(b"grpc-message", b"")).decode("utf-8", "replace")
        return Outcome(_CODES.get(status, StatusCode.UNKNOWN), details, trailing)
    if http_status != b"200":
        code = _HTTP.get(http_status, StatusCode.UNKNOWN)
        return Outcome(code, f"The answer has the HTTP status {http_status.decode()}.", trailing)
    return Outcome(StatusCode.UNKNOWN, "The answer has no status of gRPC.", trailing)


def reset(code: int) -> Outcome:
    """Returns what it means that the server has reset a stream."""
    return Outcome(_RESETS.get(code, StatusCode.INTERNAL), f"The stream was reset with {error_name(code)}.")


def error_name(code: int) -> str:
    """Returns what HTTP/2 calls an error."""
    return _NAMES.get(code, str(code))
