"""One replica of a service as the gateway knows it."""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc

from gateway.router import EndpointState, ServedModel
from sensorium import rpc
from sensorium.v1 import models_pb2

_OPTIONS = (
    # Connections are shared between channels by default, and with them their backoff.
    ("grpc.use_local_subchannel_pool", 1),
    # Minutes by default: an endpoint that came back would be found long after it did.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Endpoints are peers; a proxy in the environment is for the world outside.
    ("grpc.enable_http_proxy", 0),
)

_aio: Any = grpc.aio
EOF: Any = _aio.EOF
"""What reading from a call gives at the end of its messages; the type stubs of gRPC do not know it."""


class Endpoint:
    """An address, its one channel, what it told of itself, and how much it is doing for this gateway."""

    def __init__(self, address: str, message_bytes: int) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address, options=[*rpc.channel_options(message_bytes), *_OPTIONS])
        self.state = EndpointState.CONNECTING
        self.learned = False
        self.infos: tuple[models_pb2.ModelInfo, ...] = ()
        self.models: Mapping[str, ServedModel] = {}
        self.in_flight = 0
        self.idle = asyncio.Event()
        """Set while nothing is in flight."""
        self.idle.set()
        self._calls: dict[tuple[str, str], Any] = {}

    def learn(self, infos: tuple[models_pb2.ModelInfo, ...]) -> None:
        """Takes over what the endpoint tells of its models."""
        self.infos = infos
        self.models = {
            info.identity.name: ServedModel(
                name=info.identity.name,
                tasks=frozenset(info.tasks),
                ready=info.state == models_pb2.MODEL_STATE_READY,
                concurrency=info.concurrency,
            )
            for info in infos
        }
        self.learned = True

    def call(self, arity: str, method: str) -> Any:
        """Returns the callable for a method on raw bytes; `arity` is the channel's name for it: `unary_stream`."""
        known = self._calls.get((arity, method))
        if known is None:
            known = self._calls[arity, method] = getattr(self.channel, arity)(method)
        return known

    @contextmanager
    def working(self) -> Generator[None]:
        """Counts one call in flight."""
        self.in_flight += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()
