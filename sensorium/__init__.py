"""One place where models of every modality are served: what a caller needs.

    with sensorium.Client("localhost:50050") as client:
        for piece in client.text.stream_chat("Why is the sky blue?", max_new_tokens=200):
            print(piece, end="", flush=True)

Requests and responses are the messages of `sensorium.v1`.
"""

from sensorium.client import (
    TLS,
    AsyncClient,
    AsyncMessageStream,
    AsyncStream,
    AsyncTextStream,
    CallOptions,
    Client,
    GenerationOptions,
    MessageStream,
    Reply,
    Retry,
    Stream,
    TextStream,
)
from sensorium.errors import (
    BackendLost,
    Cancelled,
    DeadlineExceeded,
    DeviceOutOfMemory,
    Internal,
    InvalidArgument,
    ModelNotReady,
    ModelNotServed,
    NoEndpoint,
    PermissionDenied,
    QueueFull,
    QuotaExceeded,
    ResourceExhausted,
    SensoriumError,
    SlowConsumer,
    TaskNotSupported,
    Unauthenticated,
    Unavailable,
    Violation,
)

__version__ = "0.1.0"

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncMessageStream",
    "AsyncStream",
    "AsyncTextStream",
    "BackendLost",
    "CallOptions",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "DeviceOutOfMemory",
    "GenerationOptions",
    "Internal",
    "InvalidArgument",
    "MessageStream",
    "ModelNotReady",
    "ModelNotServed",
    "NoEndpoint",
    "PermissionDenied",
    "QueueFull",
    "QuotaExceeded",
    "Reply",
    "ResourceExhausted",
    "Retry",
    "SensoriumError",
    "SlowConsumer",
    "Stream",
    "TaskNotSupported",
    "TextStream",
    "Unauthenticated",
    "Unavailable",
    "Violation",
    "__version__",
]
