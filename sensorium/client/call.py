"""One call: its deadline, its request id and its metadata."""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar

from google.protobuf.message import Message

from sensorium.status import REQUEST_ID_KEY

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

ENDPOINT = "x-sensorium-endpoint"

_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(rb"[ -~]*")

# Far beyond it, gRPC takes a deadline for one that has passed.
_LONGEST_SECONDS = 1e9


class CallOptions(TypedDict, total=False):
    """What every method takes beside its request."""

    timeout: float | None
    """Seconds until the call, its retries included, fails with `DeadlineExceeded`. Default: the client's timeout."""
    request_id: str
    """Name of the call in the server's log. Default: a random one."""
    metadata: Sequence[tuple[str, str | bytes]]
    """Further metadata, such as `traceparent`."""


@dataclass(frozen=True)
class Call:
    """The options of one call, resolved. Its deadline holds for all its attempts together."""

    request_id: str
    metadata: tuple[tuple[str, str | bytes], ...]
    deadline: float | None

    @classmethod
    def of(cls, options: CallOptions, timeout: float | None, metadata: tuple[tuple[str, str], ...]) -> "Call":
        """Returns the call of `options`, over the client's own `timeout` in seconds and `metadata`.

        Raises:
            ValueError: the request id, or metadata, cannot be sent.
            TypeError: there is no such option.
        """
        # Without a type checker, nothing else tells of a misspelt timeout.
        if unknown := options.keys() - CallOptions.__annotations__:
            raise TypeError(f"There is no option {', '.join(sorted(unknown))}.")
        request_id = options.get("request_id") or uuid.uuid4().hex
        if not request_id.isascii() or not request_id.isprintable():
            raise ValueError("request_id must be printable ASCII.")
        further = tuple(options.get("metadata", ()))
        _check(further)
        timeout = options.get("timeout", timeout)
        return cls(
            request_id,
            ((REQUEST_ID_KEY, request_id), *metadata, *further),
            None if timeout is None else time.monotonic() + min(timeout, _LONGEST_SECONDS),
        )

    def remaining(self) -> float | None:
        """Returns the seconds left until the deadline, never below 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True)
class Reply(Generic[R]):
    """The answer to a unary call with what came beside it."""

    message: R
    request_id: str
    metadata: Mapping[str, str | bytes]
    """The server's initial metadata."""

    @property
    def endpoint(self) -> str | None:
        """The endpoint that answered, if the server tells."""
        return endpoint_in(self.metadata)


def _check(metadata: Sequence[tuple[str, str | bytes]]) -> None:
    # gRPC tells of these as a server's mistake, and where a call is awaited by an error of its inside.
    for key, value in metadata:
        if not _KEY.fullmatch(key):
            raise ValueError(f"metadata: {key!r} is no key, which has small letters, digits and _.- only.")
        text = value.encode() if isinstance(value, str) else value
        if not key.endswith("-bin") and not _TEXT.fullmatch(text):
            raise ValueError(f"metadata: the value of {key!r} must be printable ASCII; bytes need a key with -bin.")


def endpoint_in(metadata: Mapping[str, str | bytes]) -> str | None:
    """Returns the endpoint that `metadata` names, if any."""
    value = metadata.get(ENDPOINT)
    return value if isinstance(value, str) else None


def with_model(request: Q, model: str) -> Q:
    """Returns `request`, or, where it names no model, a copy that names `model`.

    Field 1 of every request is the model, or, in a stream that the caller feeds, a config whose field 1 is.
    """
    first = request.DESCRIPTOR.fields_by_number[1]
    nested = first.message_type is not None
    if not model or (nested and not request.HasField(first.name)):
        return request
    named: Message = getattr(request, first.name) if nested else request
    if getattr(named, "model"):  # noqa: B009 - no type knows that every request has the field
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(getattr(copy, first.name) if nested else copy, "model", model)  # noqa: B010
    return copy
