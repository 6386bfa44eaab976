"""Follows the health and the models of one endpoint while it is in the pool."""

import asyncio
import logging
import random
from collections.abc import Callable

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gateway.config import GatewaySettings
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.router import EndpointState
from gateway.relay.failure import NoAnswer
from sensorium.rpc.http2.client_call import ClientCall
from sensorium.v1 import models_pb2

_log = logging.getLogger("gateway")

_FIRST_WAIT_SECONDS = 0.1


class Learner:
    """Watches an endpoint's health, and asks for its models at each change of health and periodically.

    `changed` is called after each change of health or models. `tried` is set once the endpoint has answered or failed
    for the first time, or `run` has ended.
    """

    def __init__(self, endpoint: Endpoint, settings: GatewaySettings, changed: Callable[[], None]) -> None:
        self.tried = asyncio.Event()
        self._endpoint = endpoint
        self._settings = settings
        self._changed = changed
        self._connection_broke = False
        """Whether the connection broke since the endpoint last served. If so, its ejection record is reset once it
        serves again: it is a new process, or the network between failed and works again.
        """

    async def run(self, delay: float = 0.0) -> None:
        """Starts after `delay` seconds and runs until cancelled. Reconnects with exponential backoff and jitter."""
        try:
            await asyncio.sleep(delay)
            await self._learn()
        finally:
            self.tried.set()

    async def _learn(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                await self._follow()
                self._connection_broke = True
                wait = _FIRST_WAIT_SECONDS
            except (grpc.aio.AioRpcError, TimeoutError, NoAnswer) as error:
                # A timeout of an endpoint that is connected does not mean that it was restarted.
                if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNAVAILABLE:
                    self._connection_broke = True
                wait = _FIRST_WAIT_SECONDS if self._endpoint.health is not EndpointState.CONNECTING else wait * 2
                if not self.tried.is_set() or self._endpoint.health is not EndpointState.CONNECTING:
                    _log.info("%s cannot be reached: %s", self._endpoint.address, _reason(error))
            except Exception:
                _log.exception("%s: learning failed", self._endpoint.address)
            self._set(EndpointState.CONNECTING)
            self.tried.set()
            await asyncio.sleep(min(wait, self._settings.reconnect_seconds) * random.uniform(0.5, 1))  # noqa: S311

    async def _follow(self) -> None:
        """Follows one health watch to its end."""
        # `wait_for` of Python 3.11 loses a cancellation that comes together with the answer.
        async with asyncio.timeout(self._settings.probe_timeout_seconds):
            watch, status = await self._watch()
        with watch:
            while status is not None:
                serving = HealthCheckResponse.FromString(status).status == HealthCheckResponse.SERVING
                following = asyncio.ensure_future(watch.read())
                try:
                    await self._ask_until(following, serving)
                    status = await following
                finally:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)

    async def _watch(self) -> tuple[ClientCall, bytes | None]:
        """Returns a health watch and its first message."""
        watch = await self._endpoint.channel.open("/grpc.health.v1.Health/Watch")
        try:
            watch.ask(HealthCheckRequest().SerializeToString())
            return watch, await watch.read()
        except BaseException:
            watch.cancel()
            raise

    async def _ask_until(self, following: asyncio.Future[bytes | None], serving: bool) -> None:
        """Asks for the models periodically until the health watch has its next message."""
        while not following.done():
            await self._ask(serving)
            # Jitter, so that endpoints discovered together are not asked together for ever.
            pause = self._settings.refresh_seconds * random.uniform(0.75, 1.25)  # noqa: S311
            await asyncio.wait((following,), timeout=pause)

    async def _ask(self, serving: bool) -> None:
        """Asks for the models. An endpoint that is not serving may refuse; then its last answer stays valid."""
        if not serving:
            self._set(EndpointState.NOT_SERVING)
        try:
            response = await self._list()
        except (grpc.aio.AioRpcError, NoAnswer):
            if serving:
                raise
        else:
            known = self._endpoint.infos
            self._endpoint.learn(tuple(response.models))
            if known != self._endpoint.infos:
                self._changed()
        if serving and self._connection_broke:
            self._connection_broke = False
            self._endpoint.restarted()
        self._set(EndpointState.READY if serving else EndpointState.NOT_SERVING)
        self.tried.set()

    async def _list(self) -> models_pb2.ListModelsResponse:
        seconds = self._settings.probe_timeout_seconds
        with await self._endpoint.channel.open("/sensorium.v1.ModelService/ListModels", (), seconds) as call:
            call.ask(models_pb2.ListModelsRequest().SerializeToString())
            message = await call.answer()
            if message is None:  # unlike an empty message, which is a list of no models
                raise NoAnswer
            return models_pb2.ListModelsResponse.FromString(message)

    def _set(self, health: EndpointState) -> None:
        if health is not self._endpoint.health:
            self._endpoint.health = health
            _log.info("%s is %s", self._endpoint.address, health.value)
            self._changed()


def _reason(error: grpc.aio.AioRpcError | TimeoutError | NoAnswer) -> str:
    """Returns for the log why an endpoint was not reached: address, name, certificate or timeout."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.details() or error.code().name
    return str(error) if isinstance(error, NoAnswer) else "no answer in time"
