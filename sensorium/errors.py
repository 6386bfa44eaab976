"""Every error a caller can meet, as one tree. Each class owns its gRPC code and its reason.

    SensoriumError
    ├── InvalidArgument        INVALID_ARGUMENT    INVALID_REQUEST       every violation, by field
    ├── ModelNotServed         NOT_FOUND           MODEL_NOT_SERVED      and which models are
    ├── TaskNotSupported       UNIMPLEMENTED       TASK_NOT_SUPPORTED
    ├── Unavailable            UNAVAILABLE         UNAVAILABLE
    │   ├── ModelNotReady                          MODEL_NOT_READY       loading, warming, draining; retry later
    │   ├── NoEndpoint                             NO_ENDPOINT           retry later
    │   └── BackendLost                            BACKEND_LOST          the stream was cut; no `completed` was sent
    ├── ResourceExhausted      RESOURCE_EXHAUSTED  RESOURCE_EXHAUSTED    also gRPC's own message size limit
    │   ├── QueueFull                              QUEUE_FULL            retry later
    │   ├── QuotaExceeded                          QUOTA_EXCEEDED        retry later
    │   ├── DeviceOutOfMemory                      DEVICE_OUT_OF_MEMORY
    │   └── SlowConsumer                           SLOW_CONSUMER         the caller does not read its stream
    ├── DeadlineExceeded       DEADLINE_EXCEEDED   DEADLINE_EXCEEDED
    ├── Cancelled              CANCELLED           CANCELLED
    ├── Unauthenticated        UNAUTHENTICATED     UNAUTHENTICATED
    ├── PermissionDenied       PERMISSION_DENIED   PERMISSION_DENIED
    └── Internal               INTERNAL            INTERNAL              a fixed text and the request id

Servers raise these; the interceptor of `sensorium.rpc` sends them (see `sensorium.status`). Clients get the same
classes back, so both sides speak of one list.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from grpc import StatusCode

DOMAIN = "sensorium"
"""`ErrorInfo.domain` of every error."""


class SensoriumError(Exception):
    """An error with a gRPC code, a reason, and what to do next.

    `message` is one sentence for a person. `metadata` holds the facts of the message for a program and becomes
    `ErrorInfo.metadata`. `retry_after` is in seconds and becomes `RetryInfo`. `request_id` is set on the caller's side.
    """

    code: ClassVar[StatusCode] = StatusCode.UNKNOWN
    reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str = "",
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after = retry_after
        self.request_id: str | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True)
class Violation:
    """One field that is wrong: its path in the request, such as `parameters.top_p` or `texts[3]`, and what is."""

    field: str
    description: str


class InvalidArgument(SensoriumError):
    """The request is wrong and stays wrong when repeated. Holds every violation found, not just the first."""

    code = StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"

    def __init__(self, violations: Iterable[Violation], message: str = "") -> None:
        self.violations = tuple(violations)
        super().__init__(message or "; ".join(f"{v.field}: {v.description}" for v in self.violations))


class ModelNotServed(SensoriumError):
    """No model of this name is served here."""

    code = StatusCode.NOT_FOUND
    reason = "MODEL_NOT_SERVED"

    @classmethod
    def of(cls, model: str, served: Iterable[str]) -> "ModelNotServed":
        """The error for `model`, naming the models that are served."""
        names = ", ".join(sorted(served)) or "none"
        return cls(
            f"Model {model!r} is not served here. Served: {names}.", metadata={"model": model, "servedModels": names}
        )


class TaskNotSupported(SensoriumError):
    """The model cannot do this task."""

    code = StatusCode.UNIMPLEMENTED
    reason = "TASK_NOT_SUPPORTED"


class Unavailable(SensoriumError):
    """Not now; the same request may succeed later or elsewhere."""

    code = StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class ModelNotReady(Unavailable):
    """The model is loading, warming up or draining."""

    reason = "MODEL_NOT_READY"


class NoEndpoint(Unavailable):
    """No ready endpoint serves this."""

    reason = "NO_ENDPOINT"


class BackendLost(Unavailable):
    """The replica was lost in mid-stream and the stream could not be resumed."""

    reason = "BACKEND_LOST"


class ResourceExhausted(SensoriumError):
    """A limit was reached."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"


class QueueFull(ResourceExhausted):
    """Too many requests or tokens are waiting. `retry_after` is the queue's own estimate."""

    reason = "QUEUE_FULL"


class QuotaExceeded(ResourceExhausted):
    """The tenant's quota is used up."""

    reason = "QUOTA_EXCEEDED"


class DeviceOutOfMemory(ResourceExhausted):
    """The device has not enough memory for this request; the server stays up."""

    reason = "DEVICE_OUT_OF_MEMORY"


class SlowConsumer(ResourceExhausted):
    """The caller reads its stream so slowly that too much was waiting for it."""

    reason = "SLOW_CONSUMER"


class DeadlineExceeded(SensoriumError):
    """The caller's deadline passed, or cannot be met."""

    code = StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(SensoriumError):
    """The call was cancelled."""

    code = StatusCode.CANCELLED
    reason = "CANCELLED"


class Unauthenticated(SensoriumError):
    """No credential, or one that is not known."""

    code = StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(SensoriumError):
    """The credential is known and not allowed to do this."""

    code = StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Internal(SensoriumError):
    """A bug. Callers see a fixed text and the request id; the log holds the rest."""

    code = StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(
        self,
        message: str = "The server made a mistake; its log has the details under this request id.",
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, metadata=metadata, retry_after=retry_after)
