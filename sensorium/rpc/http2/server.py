"""A server of gRPC on the event loop, in the place of `grpc.aio.server`."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import grpc
from grpc import StatusCode

from sensorium.rpc.http2.metadata import Pairs
from sensorium.rpc.http2.server_connection import ServerConnection

_BACKLOG = 1024
_TLS_SECONDS = {"ssl_handshake_timeout": 20.0, "ssl_shutdown_timeout": 2.0}
"""The latter for what is still to be sent and for a client's own end of TLS, which gRPC's clients do not send."""


class _Details(NamedTuple):
    """Stands for `grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: Pairs


class Http2Server:
    """Answers calls by generic handlers, behind an interceptor that makes every handler a coroutine function.

    Handlers that answer with a stream write to their context; those of one answer return it.
    """

    def __init__(
        self,
        interceptor: grpc.aio.ServerInterceptor,
        message_bytes: int,
        max_age_seconds: float | None = None,
    ) -> None:
        """Takes messages of so many bytes, and connections of so many seconds; None: of any age."""
        self.message_bytes = message_bytes
        self.max_age_seconds = max_age_seconds
        self.most_unfinished_bytes: int | None = None
        """Bytes that may be there of messages that are not whole, of all calls together; None: any."""
        self.unfinished = 0
        """Those that are."""
        self._interceptor = interceptor
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._sockets: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[ServerConnection] = set()
        self._emptied = asyncio.Event()

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Adds handlers; those that were added first are asked first."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Does nothing: generated code says the same by `add_generic_rpc_handlers`."""

    def add_insecure_port(self, address: str) -> int:
        """Binds `HOST:PORT` and returns the port. Raises OSError."""
        return self.add_port(address, None)

    def add_port(self, address: str, tls: ssl.SSLContext | None) -> int:
        """Binds `HOST:PORT`, for TLS if there is a context, and returns the port. Raises OSError."""
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except OSError:
            bound.close()
            raise
        bound.setblocking(False)
        self._sockets.append((bound, tls))
        return bound.getsockname()[1]

    async def start(self) -> None:
        """Answers calls."""
        loop = asyncio.get_running_loop()
        while self._sockets:
            bound, tls = self._sockets.pop(0)
            times: dict[str, Any] = dict(_TLS_SECONDS) if tls else {}
            self._servers.append(
                await loop.create_server(
                    lambda: ServerConnection(self),
                    sock=bound,
                    backlog=_BACKLOG,
                    ssl=tls,
                    **times,
                )
            )

    async def stop(self, grace: float | None) -> None:
        """Takes no more calls, and returns when all have ended, or were ended after `grace` seconds. None: at once."""
        for server in self._servers:
            server.close()
        for bound, _ in self._sockets:
            bound.close()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace or 0):
                while self._connections:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.cut()
            await asyncio.gather(*(connection.closed for connection in self._connections))

    def find(self, method: str) -> Callable[[Pairs], Awaitable[Any]]:
        """See House."""

        async def ask(details: Any) -> Any:
            found = (handler.service(details) for handler in self._handlers)
            return next((handler for handler in found if handler is not None), None)

        def find(metadata: Pairs) -> Awaitable[Any]:
            details: Any = _Details(method, metadata)
            return self._interceptor.intercept_service(ask, details)

        return find

    def hold(self, size: int) -> None:
        """See House. Where there are too many, the largest message goes of the connection that has most of them."""
        self.unfinished += size
        most = self.most_unfinished_bytes
        while most is not None and self.unfinished > most:
            connection = max(self._connections, key=lambda each: each.unfinished)
            call = max(connection.streams.values(), key=lambda each: each.unfinished)
            text = f"More than {most} bytes have come of messages that are not whole, and this is the largest."
            call.cut(StatusCode.RESOURCE_EXHAUSTED, text)
            call.drop_unfinished()  # one whose status is on its way already is still open

    def entered(self, connection: ServerConnection) -> None:
        """See House."""
        self._connections.add(connection)

    def left(self, connection: ServerConnection) -> None:
        """See House."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()
