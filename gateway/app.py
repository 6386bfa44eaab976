"""Wires the gateway together: discovery, pool, admission, relay, metrics and the gRPC server."""

import asyncio
from contextlib import AsyncExitStack, suppress
from types import TracebackType

from prometheus_client import CollectorRegistry

from gateway.admission import Admission
from gateway.config import GatewaySettings
from gateway.discovery import Discovery
from gateway.discovery.choice import discovery_of
from gateway.endpoints.pool import Pool
from gateway.endpoints.pool_metrics import EndpointCollector, PoolCollector
from gateway.endpoints.router import EndpointState
from gateway.labels import modality_label, task_label
from gateway.metrics import GatewayMetrics
from gateway.models import ModelService
from gateway.relay.relay import Relay
from sensorium import rpc
from sensorium.tasks import METHODS, SERVICES
from sensorium.v1 import models_pb2, models_pb2_grpc

_MODEL_SERVICE = models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
_LAG_INTERVAL_SECONDS = 0.25
_UNFINISHED_MESSAGES = 8
"""Memory for all incompletely received messages, in messages of the largest size. Nothing else bounds it."""


class Gateway:
    """A gateway and its server, on the running event loop. Endpoints are followed inside `async with`."""

    def __init__(self, settings: GatewaySettings, discovery: Discovery | None = None) -> None:
        self.registry = CollectorRegistry()
        self.pool = Pool(settings, discovery or discovery_of(settings))
        self.metrics = GatewayMetrics(self.registry, task_label, modality_label, self._knows)
        self.admission = Admission(self.pool, self.metrics, settings)
        names = (*(service.full_name for service in SERVICES), _MODEL_SERVICE)
        self.server = rpc.Server(settings, names, name="gateway", observer=self.metrics, registry=self.registry)
        self.server.grpc.most_unfinished_bytes = _UNFINISHED_MESSAGES * settings.message_bytes
        self.registry.register(EndpointCollector(self.admission.pools, self.pool.with_draining))
        self.registry.register(PoolCollector(self.admission.pools, self.pool.with_draining, self.admission.depths))
        self.metrics.begin(self.admission.pools)
        self.server.grpc.add_generic_rpc_handlers((Relay(self.admission, self.metrics, settings),))
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(lambda: self.pool.endpoints), self.server.grpc)
        self.pool.on_change = self._pool_changed
        self._settings = settings
        self._stack = AsyncExitStack()

    async def prepare(self) -> None:
        """Waits for the first result of discovery, then until each endpoint was tried or `startup_seconds` passed."""
        # Without a timeout: in a roll-out, a gateway that cannot discover endpoints must not replace one that can.
        await self.pool.wait_found()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.startup_seconds):
                await self.pool.wait_tried()

    async def __aenter__(self) -> "Gateway":
        await self._stack.enter_async_context(self.pool)
        lag = asyncio.ensure_future(self._measure_lag())
        self._stack.callback(lag.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _knows(self, model: str) -> bool:
        return model in self.pool.catalog.names or self.admission.knows(model)

    def _pool_changed(self) -> None:
        self._update_health()
        self.admission.changed()

    def _update_health(self) -> None:
        """Sets a service SERVING while a model for one of its tasks is ready, or may be started from zero replicas."""
        tasks = self.admission.cold_tasks | {
            task
            for endpoint in self.pool.endpoints
            if endpoint.state in (EndpointState.READY, EndpointState.EJECTED)
            for model in endpoint.models.values()
            if model.ready
            for task in model.tasks
        }
        for service in SERVICES:
            methods = (method for method in METHODS.values() if method.service == service.full_name)
            served = any(not tasks.isdisjoint(method.tasks) for method in methods)
            self.server.health.set(service.full_name, served)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_INTERVAL_SECONDS
            await asyncio.sleep(_LAG_INTERVAL_SECONDS)
            self.metrics.loop_lag.observe(max(loop.time() - due, 0))


async def serve(settings: GatewaySettings) -> None:
    """Runs a gateway until the process is asked to stop (SIGTERM or SIGINT)."""
    async with Gateway(settings) as gateway:
        await rpc.run(gateway.server, gateway.prepare)
