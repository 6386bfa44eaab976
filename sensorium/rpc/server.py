"""One gRPC server of a process, from the bound port to the end of its drain."""

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import aio
from prometheus_client import CollectorRegistry

from sensorium.errors import SensoriumError
from sensorium.rpc import health
from sensorium.rpc.behaviours import Patience
from sensorium.rpc.certificates import server_tls
from sensorium.rpc.gate import Gate
from sensorium.rpc.http2.server import Http2Server
from sensorium.rpc.interceptor import CallInterceptor
from sensorium.rpc.log_writer import LINES_DROPPED
from sensorium.rpc.metrics_port import MetricsPort
from sensorium.rpc.observer import CallObserver, NobodyObserves
from sensorium.rpc.settings import ServerSettings
from sensorium.rpc.tracing import Tracer, tracer_of

_log = logging.getLogger("sensorium.rpc")

# Time for the last statuses and the ends of health watches to leave, once nothing runs any more.
_FAREWELL_SECONDS = 1.0
# Below the time that probes are given; a loop that is merely busy comes round in a fraction of it.
_STUCK_SECONDS = 4.0


class CannotServe(Exception):
    """The process cannot do its work; the text is a sentence for the operator, who can do something about it."""


class PortTaken(CannotServe):
    """A port cannot be listened on."""


class Server:
    """A server of gRPC with health, admission, errors, and a metrics port.

    Must be made on the running event loop. Register servicers with `server.grpc` before `start`. As an asynchronous
    context manager it starts on entry and drains on exit.
    """

    def __init__(
        self,
        settings: ServerSettings,
        services: Iterable[str],
        *,
        name: str = "server",
        observer: CallObserver | None = None,
        registry: CollectorRegistry | None = None,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Makes a server for `services`, the full names (`sensorium.v1.TextService`) that health tells of.

        `name` is what its traces call it. `alive` tells /livez, from another thread, whether the process does its work:
        False asks for a restart.

        Raises:
            OSError: a TLS file cannot be read.
            CannotServe: traces are wanted, and what makes them is not installed.
        """
        self.settings = settings
        self.services = tuple(services)
        self.gate = Gate()
        self.health = health.Health(self.services)
        self.hurry = asyncio.Event()
        """Set it to cut every wait of a drain short."""
        self.port = 0
        self.metrics_port = 0
        patience = Patience(settings.stalled_client_seconds, settings.silent_client_seconds)
        self._tracer = _tracer(settings, name)
        interceptor = CallInterceptor(self.gate, observer or NobodyObserves(), patience, self._tracer)
        # To the generated stubs, only gRPC's own servers are servers.
        self.grpc: Any = Http2Server(interceptor, settings.message_bytes, settings.max_connection_age_seconds)
        self._tls = server_tls(settings)
        self._registry = registry or CollectorRegistry()
        self._registry.register(LINES_DROPPED)
        self._alive = alive
        self._metrics: MetricsPort | None = None
        self._drained: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Binds both ports and answers calls; health says NOT_SERVING until `ready`. Sets `port` and `metrics_port`.

        Raises:
            PortTaken: a port cannot be bound.
        """
        self.grpc.add_generic_rpc_handlers((self.health.handler(),))
        if self.settings.reflection:
            names = (*self.services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            stubs: Any = reflection_pb2_grpc
            stubs.add_ServerReflectionServicer_to_server(aio.ReflectionServicer(names), self.grpc)
        self.port = self._bind()
        host, port = self.settings.host, self.settings.metrics_port
        try:
            loop = asyncio.get_running_loop()
            self._metrics = MetricsPort(
                host,
                port,
                self._registry,
                lambda: _answers(loop) and self._alive(),
                lambda: _answers(loop) and self.health.serving,
            )
        except OSError as error:
            await self.grpc.stop(None)
            raise _cannot_listen(f"{host}:{port} for metrics", "--metrics-port", port, error) from error
        self.metrics_port = self._metrics.port
        await self.grpc.start()
        _log.info("listening on %s:%d, metrics on %s:%d", host, self.port, host, self.metrics_port)

    def ready(self) -> None:
        """Lets health say SERVING for the process, and for all its services but those `health.set` has spoken of."""
        self.health.ready()
        _log.info("ready")

    async def drain(self) -> None:
        """Stops as a rolling update needs it; returns when the server is down. Safe to call again.

        Health says NOT_SERVING; calls still come in for `drain_delay_seconds`, while endpoints are taken out of
        routing; then new ones get UNAVAILABLE `MODEL_NOT_READY` with a delay to retry after, and running ones finish
        for up to `drain_grace_seconds`; the rest is cancelled.
        """
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain())
        await asyncio.shield(self._drained)

    async def fail(self, failure: SensoriumError) -> None:
        """Ends all calls with `failure`, as a process that can serve none any more; returns when they were told.

        Health says NOT_SERVING from now on.
        """
        self.health.retire()
        self.gate.fail(failure)
        await self._at_most(_FAREWELL_SECONDS, self.gate.empty)
        self.health.close()
        await self.grpc.stop(_FAREWELL_SECONDS)

    async def __aenter__(self) -> "Server":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain()

    def _bind(self) -> int:
        host, port = self.settings.host, self.settings.port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return self.grpc.add_port(address, self._tls)
        except OSError as error:
            raise _cannot_listen(f"{address} for gRPC", "--port", port, error) from error

    async def _drain(self) -> None:
        self.health.retire()
        _log.info("draining, %d calls running", self.gate.inside)
        if self.settings.drain_delay_seconds:  # else nobody comes in behind the line that says so
            await self._at_most(self.settings.drain_delay_seconds, asyncio.Event())
        self.gate.close()
        await self._at_most(self.settings.drain_grace_seconds, self.gate.empty)
        if self.gate.inside:
            _log.warning("cancelling %d calls that did not finish in time", self.gate.inside)
        self.health.close()
        await self.grpc.stop(None if self.gate.inside else _FAREWELL_SECONDS)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)
        _log.info("stopped")

    async def _at_most(self, seconds: float, event: asyncio.Event) -> None:
        """Returns when `event` is set, the time is over, or the drain is hurried."""
        tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.hurry.wait())]
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _cannot_listen(what: str, flag: str, port: int, error: OSError) -> PortTaken:
    told = f"Cannot listen on {what}: {error.strerror or error}."
    if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME):
        return PortTaken(f"{told} --host is an address of this machine; 0.0.0.0 is all of them.")
    if error.errno != errno.EADDRINUSE:
        return PortTaken(told)
    return PortTaken(
        f"{told} A server has the port, or a connection that was opened from it, which Linux does from the ports of "
        f"net.ipv4.ip_local_port_range: `ss -tanp | grep :{port}` shows whose. Give another with {flag}, or try again."
    )


def _answers(loop: asyncio.AbstractEventLoop) -> bool:
    """Returns whether an event loop still does what it is given; called in another thread."""
    done = threading.Event()
    try:
        loop.call_soon_threadsafe(done.set)
    except RuntimeError:  # it was closed
        return False
    return done.wait(_STUCK_SECONDS)


def _tracer(settings: ServerSettings, name: str) -> Tracer | None:
    try:
        return tracer_of(settings, name)
    except ImportError as error:
        raise CannotServe("Traces need the extra `tracing`: pip install 'sensorium[tracing]'.") from error
