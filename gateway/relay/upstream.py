"""Reads the caller's messages of a bidirectional stream, and writes them to the endpoint."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any

import grpc

from gateway.relay.delivery import Context
from sensorium import rpc
from sensorium.errors import InvalidArgument, Violation
from sensorium.rpc.http2.client_call import ClientCall

_aio: Any = grpc.aio

EOF: Any = _aio.EOF
"""What a read returns at the end of the caller's messages. gRPC's type stubs lack it."""

# Messages of audio read ahead; each is at most as large as the message limit, and usually a few kilobytes.
_AHEAD = 2


class Upstream:
    """Reads the caller's messages, a few ahead, and writes them to an endpoint's call.

    Reading continues after a failed attempt: messages that one endpoint did not get go to the next one.
    """

    def __init__(self, context: Context, silent_seconds: float) -> None:
        self.replayable = True
        """Whether a new attempt gets every message: true until a message after the first was sent to an endpoint."""
        self._context = context
        self._silent_seconds = silent_seconds
        self._first = b""
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_AHEAD)
        self._reader: asyncio.Future[None] | None = None

    async def first(self) -> bytes:
        """Returns the first message.

        Raises:
            InvalidArgument: the caller sent none.
            DeadlineExceeded: none came within `silent_seconds`. For later messages the endpoint has its own limit.
        """
        message: Any = await rpc.read_within(self._context.read(), self._silent_seconds)
        if message is EOF:
            raise InvalidArgument([Violation("config", "must be in the first message of the stream")])
        self._first = message
        self._reader = asyncio.ensure_future(self._read())
        return self._first

    @asynccontextmanager
    async def flowing_into(self, call: ClientCall) -> AsyncGenerator[None]:
        """Inside the context, writes the first and all further messages to `call`, as fast as it takes them."""
        writer = asyncio.ensure_future(self._write(call))
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def __aenter__(self) -> "Upstream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None  # its exception's frames would keep the messages alive

    async def _read(self) -> None:
        message: Any = None
        while message is not EOF:
            message = await self._context.read()
            await self._queue.put(message)

    async def _write(self, call: ClientCall) -> None:
        # Writing to an ended call raises; the task that reads from the call learns how it ended.
        with suppress(_aio.InternalError):
            await call.write(self._first)
            while (message := await self._queue.get()) is not EOF:
                self.replayable = False
                await call.write(message)
            self.replayable = False
            call.done_writing()
