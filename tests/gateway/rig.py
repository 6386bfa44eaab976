"""Runs a gateway in this process, in front of fake services and behind a client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from gateway.app import Gateway
from gateway.config import GatewaySettings
from gateway.discovery import Discovery
from sensorium.errors import SensoriumError
from sensorium.status import from_rpc_error
from sensorium.v1 import models_pb2_grpc, speech_pb2_grpc, text_pb2_grpc
from tests.waiting import PATIENCE, until

_CLIENT = (
    # No limits of the client, as the tests are about those of the gateway.
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.enable_retries", 0),
    # By default, the flow-control window of a stream that is not read keeps growing.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    # By default, channels share connections and their backoff.
    ("grpc.use_local_subchannel_pool", 1),
)


class Rig:
    """A running gateway, a channel to it, and stubs."""

    def __init__(self, gateway: Gateway, channel: grpc.aio.Channel) -> None:
        self.gateway = gateway
        self.channel = channel
        self.text: Any = text_pb2_grpc.TextServiceStub(channel)
        self.speech: Any = speech_pb2_grpc.SpeechServiceStub(channel)
        self.models: Any = models_pb2_grpc.ModelServiceStub(channel)

    def metric(self, name: str, **labels: str) -> float:
        """Returns a sample's value; 0 if there is none yet."""
        return self.gateway.registry.get_sample_value(name, labels) or 0.0

    def endpoint(self, address: str) -> Any:
        return next(endpoint for endpoint in self.gateway.pool.endpoints if endpoint.address == address)


@asynccontextmanager
async def rig(
    *addresses: str, reachable: bool = True, discovery: Discovery | None = None, **settings: Any
) -> AsyncIterator[Rig]:
    """Runs a gateway in front of `addresses`, or of the endpoints of `discovery`.

    If `reachable`, waits until all endpoints have reported their models. The gateway itself waits only for one attempt,
    which may fail on a busy machine. An endpoint that answers a probe late is not given up, unless `settings` say so.
    """
    chosen: dict[str, Any] = {
        "static": addresses or ("127.0.0.1:9",),
        "port": 0,
        "metrics_port": 0,
        "drain_delay_seconds": 0,
        "drain_grace_seconds": 0,
        "refresh_seconds": 0.2,
        "reconnect_seconds": 0.2,
        "startup_seconds": 20,
        "probe_timeout_seconds": PATIENCE,
        **settings,
    }
    async with Gateway(GatewaySettings(**chosen), discovery) as gateway, gateway.server as server:
        await gateway.prepare()
        server.ready()
        if reachable:
            await until(lambda: all(endpoint.learned for endpoint in gateway.pool.endpoints))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=_CLIENT) as channel:
            yield Rig(gateway, channel)


async def error_of(call: Any) -> SensoriumError:
    """Reads a call to its end and returns its error."""
    try:
        if hasattr(call, "read"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError("the call succeeded")
