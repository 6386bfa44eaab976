"""Puts the parts of the gateway together."""

import asyncio
from contextlib import AsyncExitStack, suppress
from types import TracebackType

from prometheus_client import CollectorRegistry

from gateway.admission import Admission
from gateway.config import GatewaySettings
from gateway.discovery import Discovery
from gateway.discovery.choice import discovery_of
from gateway.labels import modality_label, task_label
from gateway.metrics import GatewayMetrics
from gateway.models import ModelService
from gateway.pool import Pool
from gateway.pool_metrics import EndpointCollector, PoolCollector
from gateway.relay import Relay
from gateway.router import EndpointState
from sensorium import rpc
from sensorium.tasks import METHODS, SERVICES
from sensorium.v1 import models_pb2, models_pb2_grpc

_MODEL_SERVICE = models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
_LAG_INTERVAL_SECONDS = 0.25
_UNFINISHED_MESSAGES = 8
"""Of the largest that may come, so much may be there of all that are not whole: nothing else bounds these."""


class Gateway:
    """A gateway and its server, on the running event loop. Learns of its endpoints inside `async with`."""

    def __init__(self, settings: GatewaySettings, discovery: Discovery | None = None) -> None:
        self.registry = CollectorRegistry()
        self.pool = Pool(settings, discovery or discovery_of(settings))
        self.metrics = GatewayMetrics(self.registry, task_label, modality_label, self._knows)
        self.admission = Admission(self.pool, self.metrics, settings)
        names = (*(service.full_name for service in SERVICES), _MODEL_SERVICE)
        self.server = rpc.Server(settings, names, name="gateway", observer=self.metrics, registry=self.registry)
        self.server.grpc.most_unfinished_bytes = _UNFINISHED_MESSAGES * settings.message_bytes
        self.registry.register(EndpointCollector(self.admission.pools, self.pool.with_leaving))
        self.registry.register(PoolCollector(self.admission.pools, self.pool.with_leaving, self.admission.depths))
        self.metrics.begin(self.admission.pools)
        self.server.grpc.add_generic_rpc_handlers((Relay(self.admission, self.metrics, settings),))
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(lambda: self.pool.endpoints), self.server.grpc)
        self.pool.on_change = self._changed
        self._settings = settings
        self._stack = AsyncExitStack()

    async def prepare(self) -> None:
        """Returns when discovery has told of endpoints, and every one was tried once or the time for that is over."""
        # Without end: a gateway that may not ask for endpoints must not replace, in a roll-out, one that knows them.
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

    def _changed(self) -> None:
        self._tell_health()
        self.admission.changed()

    def _tell_health(self) -> None:
        """A service is served while a model for one of its tasks is ready at an endpoint, or would be waited for."""
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
    """Runs a gateway until it is told to stop."""
    async with Gateway(settings) as gateway:
        await rpc.run(gateway.server, gateway.prepare)
