"""The way errors travel: a `SensoriumError` as a `google.rpc.Status`, and back into the same class.

A status holds exactly one `ErrorInfo` (reason, domain, metadata with the request id), `BadRequest` where fields are
wrong, `RetryInfo` where a retry helps, and `QuotaFailure` where a quota is used up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from sensorium.errors import DOMAIN, InvalidArgument, QuotaExceeded, SensoriumError, Violation

STATUS_KEY = "grpc-status-details-bin"
"""Trailing metadata under which gRPC carries a serialized `google.rpc.Status`."""

REQUEST_ID_KEY = "x-request-id"
"""Metadata under which a caller names its request and the server echoes the name."""

STATUS_LIMIT_BYTES = 4096
"""A status stays below this, message and details together: gRPC loses larger ones, at random from 8 KiB on."""

_DetailT = TypeVar("_DetailT", bound=Message)
_MESSAGE_BYTES = 1024
# What the wrapping of a detail, and of one more violation within it, takes at most.
_DETAIL_BYTES = 80
_FIELD_BYTES = 4
_METADATA_BYTES = 768
_VALUE_BYTES = 300


def to_status(error: SensoriumError, request_id: str | None = None) -> Status:
    """Returns `error` as a status below `STATUS_LIMIT_BYTES`.

    Texts that are too long are cut; violations that do not fit are left out from the end, and the message and the
    metadata entry `omittedViolations` say how many.
    """
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    # The longest form there can be: what it leaves free is for violations.
    room = STATUS_LIMIT_BYTES - _size(_assemble(error, request_id, [], len(violations))) - _DETAIL_BYTES
    fields: list[BadRequest.FieldViolation] = []
    for violation in violations:
        field = BadRequest.FieldViolation(
            field=_cut(violation.field, _VALUE_BYTES), description=_cut(violation.description, _VALUE_BYTES)
        )
        room -= field.ByteSize() + _FIELD_BYTES
        if room <= 0:
            break
        fields.append(field)
    return _assemble(error, request_id, fields, len(violations) - len(fields))


def trailers(status: Status) -> tuple[tuple[str, bytes], ...]:
    """Returns the trailing metadata that carries `status`."""
    return ((STATUS_KEY, status.SerializeToString()),)


def from_rpc_error(error: grpc.RpcError) -> SensoriumError:
    """Returns the error a server meant, of the class it raised.

    The class is chosen by the reason in `ErrorInfo`, and by the gRPC code where the status has none, as in errors that
    gRPC itself makes (message size, deadline, no connection). Accepts the errors of `grpc` and of `grpc.aio`.
    """
    code = error.code()
    call: Any = error
    initial: dict[str, str] = dict(call.initial_metadata() or ())
    trailing: dict[str, bytes] = dict(call.trailing_metadata() or ())
    status = _parse(trailing.get(STATUS_KEY, b""))
    return from_status(status, code, error.details() or "", initial.get(REQUEST_ID_KEY))


def from_status(
    status: Status, code: grpc.StatusCode, message: str = "", request_id: str | None = None
) -> SensoriumError:
    """Returns the error in `status`; `code`, `message` and `request_id` stand in for what it does not say."""
    info = _detail(status, ErrorInfo)
    metadata = dict(info.metadata) if info.domain == DOMAIN else {}
    kind = _BY_REASON.get(info.reason) if info.domain == DOMAIN else None
    if kind is None:
        kind = _BY_CODE.get(code, SensoriumError)
        metadata.setdefault("code", code.name)
    text = status.message or message
    if issubclass(kind, InvalidArgument):
        wrong = _detail(status, BadRequest).field_violations
        error: SensoriumError = kind((Violation(v.field, v.description) for v in wrong), text)
    else:
        error = kind(text)
    error.request_id = metadata.pop("requestId", request_id)
    error.metadata = metadata
    retry = _detail(status, RetryInfo)
    if retry.HasField("retry_delay"):
        # Nobody can sleep for less than no time.
        error.retry_after = max(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9, 0.0)
    return error


def reason_in(trailing: Iterable[tuple[str, str | bytes]]) -> str:
    """Returns the reason in the status that trailing metadata carry; empty where there is none of ours."""
    for key, value in trailing:
        if key == STATUS_KEY and isinstance(value, bytes):
            info = _detail(_parse(value), ErrorInfo)
            return info.reason if info.domain == DOMAIN and info.reason in _BY_REASON else ""
    return ""


def tree(root: type[SensoriumError] = SensoriumError) -> list[type[SensoriumError]]:
    """Returns `root` and every class below it, parents first."""
    return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]


_BY_REASON = {kind.reason: kind for kind in tree()}
# Parents come first in the tree, so that a code without a reason becomes the most general class that has it.
_BY_CODE = {kind.code: kind for kind in reversed(tree())}


def _assemble(
    error: SensoriumError, request_id: str | None, fields: Sequence[BadRequest.FieldViolation], omitted: int
) -> Status:
    message = _cut(error.message, _MESSAGE_BYTES)
    metadata = _bounded(error.metadata)
    if omitted:
        metadata["omittedViolations"] = str(omitted)
        message += f" ({omitted} more violations are left out.)"
    if request_id:
        metadata["requestId"] = _cut(request_id, _VALUE_BYTES)
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if fields:
        details.append(BadRequest(field_violations=fields))
    if isinstance(error, QuotaExceeded):
        subject = metadata.get("tenant", "")
        details.append(QuotaFailure(violations=[QuotaFailure.Violation(subject=subject, description=message[:200])]))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(max(error.retry_after, 0) * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=error.code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _size(status: Status) -> int:
    return len(quote(status.message)) + status.ByteSize()


def _cut(text: str, limit: int) -> str:
    """Returns `text`, shortened if it takes over `limit` bytes when percent-encoded, as gRPC sends messages."""
    text = text[: limit + 1].encode(errors="replace").decode()
    if len(text) <= limit and len(quote(text)) <= limit:
        return text
    left = limit - len(quote("…"))
    for position, character in enumerate(text):
        left -= len(quote(character))
        if left < 0:
            return text[:position] + "…"
    return text


def _bounded(metadata: Mapping[str, str]) -> dict[str, str]:
    bounded: dict[str, str] = {}
    left = _METADATA_BYTES
    for key, value in metadata.items():
        cut = _cut(value, _VALUE_BYTES)
        left -= len(key) + len(cut.encode())
        if left < 0:
            break
        bounded[key] = cut
    return bounded


def _parse(packed: bytes) -> Status:
    try:
        return Status.FromString(packed)
    except DecodeError:
        return Status()


def _detail(status: Status, kind: type[_DetailT]) -> _DetailT:
    """Returns the first detail of this kind, or an empty one."""
    found = kind()
    for detail in status.details:
        if detail.Unpack(found):
            break
    return found
