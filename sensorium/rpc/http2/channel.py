"""A channel to one server: one connection, made when it is needed, and again when it is no more."""

import asyncio
import os
import random
import socket
import ssl
from collections.abc import Iterable
from typing import Any

from grpc import StatusCode

from sensorium.rpc.http2.client_call import ClientCall
from sensorium.rpc.http2.client_connection import ClientConnection
from sensorium.rpc.http2.outcome import Outcome

# From the beginning of one attempt to the next: a server that came back is found soon after it did.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _GROWTH, _JITTER = 0.1, 2.0, 1.6, 0.2
# Connecting, TLS, and the server's first frame.
_ATTEMPT_SECONDS = 2.0
_TLS_END_SECONDS = 2.0
_CLOSE_SECONDS = 2.0


class Channel:
    """Calls of one server. Belongs to the event loop.

    A call waits while the connection is being made, and while the server takes no more calls. Where the last attempt to
    connect has failed, calls fail with UNAVAILABLE until it is time for another.
    """

    def __init__(
        self, address: str, message_bytes: int, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> None:
        """Speaks to `HOST:PORT`, by TLS if there is a context; `name` is what certificate and calls name in its place.

        Messages have so many bytes at most.
        """
        host, _, port = address.rpartition(":")
        self.address = address
        self.closed = False
        """Whether it can be used no more."""
        self._host, self._port = host.strip("[]"), int(port)
        self._message_bytes = message_bytes
        self._tls = tls
        self._name = name
        self._connection: ClientConnection | None = None
        self._connections: set[ClientConnection] = set()  # of which all but one only finish their calls
        self._attempt: asyncio.Task[None] | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._not_before = 0.0
        self._failure = ""

    async def open(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]] = (), seconds: float | None = None
    ) -> ClientCall:
        """Begins a call, which has so many seconds from now on; None: as many as it takes.

        Raises:
            AioRpcError: the server is not reached, or not in time.
        """
        connection = self._connection
        if connection is None or not connection.has_room:
            begun = asyncio.get_running_loop().time()
            connection = await self._found(seconds)
            if seconds is not None:
                seconds -= asyncio.get_running_loop().time() - begun
        return connection.open(method, metadata, seconds)

    async def close(self) -> None:
        """Ends all calls, and closes the connection."""
        self.closed = True
        self._failure = "The channel is closed."
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)
        for connection in list(self._connections):
            connection.close(self._failure)
        if self._connections:
            # For whoever ends the event loop next. A server that takes nothing is not waited for.
            await asyncio.wait([connection.closed for connection in self._connections], timeout=_CLOSE_SECONDS)

    async def _found(self, seconds: float | None) -> ClientConnection:
        """Returns a connection on which a call may begin."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = await self._connected()
                    await connection.room()
                    if connection.usable:
                        return connection
        except TimeoutError:
            raise Outcome(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded").error() from None

    async def _connected(self) -> ClientConnection:
        """Returns the connection, made now if there is none."""
        loop = asyncio.get_running_loop()
        if self._attempt is None and not self._stands() and not self.closed and loop.time() >= self._not_before:
            self._attempt = loop.create_task(self._connect())
        if self._attempt is not None:
            await asyncio.wait((self._attempt,))
        if self._connection is None or not self._stands():
            why = self._failure if self._connection is None else self._connection.reason
            raise Outcome(StatusCode.UNAVAILABLE, why).error()
        return self._connection

    def _stands(self) -> bool:
        return self._connection is not None and self._connection.usable

    async def _connect(self) -> None:
        """Makes one attempt."""
        pause = self._pause * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        self._not_before = asyncio.get_running_loop().time() + pause
        self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
        self._connection = None
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                self._connection = await self._made()
            self._pause = _FIRST_PAUSE_SECONDS
        except TimeoutError:
            self._failure = f"There was no answer within {_ATTEMPT_SECONDS:g} s."
        except (OSError, UnicodeError) as error:
            self._failure = _said(error)
        finally:
            self._attempt = None

    async def _made(self) -> ClientConnection:
        scheme, authority = ("https", self._name or self.address) if self._tls else ("http", self.address)
        tls: dict[str, Any] = {}
        if self._tls is not None:
            tls = {"server_hostname": self._name or self._host, "ssl_shutdown_timeout": _TLS_END_SECONDS}
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: ClientConnection(authority, scheme, self._message_bytes),
            self._host,
            self._port,
            ssl=self._tls,
            **tls,
        )
        try:
            greeted = await connection.greeted
        except asyncio.CancelledError:
            transport.abort()
            raise
        if not greeted:
            raise ConnectionError(connection.reason)
        self._connections.add(connection)
        connection.closed.add_done_callback(lambda _: self._connections.discard(connection))
        return connection


def _said(error: OSError | UnicodeError) -> str:
    """Returns why a server was not reached: a port, a name, a certificate."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return str(error)
