"""A server that says what no server should, frame by frame, and a channel to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.channel import Channel
from sensorium.rpc.http2.client_call import ClientCall
from tests.rpc.http2.wire import Wire

METHOD = "/test.Raw/Call"
ANSWER = ((":status", "200"), ("content-type", "application/grpc"))
LIMIT = 100_000


class Endpoint:
    """Takes connections, each to be spoken on by the test."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: asyncio.Queue[Wire] = asyncio.Queue()
        self.channel: Channel

    async def taken(self, **settings: int) -> Wire:
        """Returns the next connection, greeted."""
        async with asyncio.timeout(60):
            wire = await self.connections.get()
        wire.send(frames.settings_frame({getattr(frames, name.upper()): value for name, value in settings.items()}))
        return wire

    async def called(self, message: bytes = b"") -> tuple[Wire, ClientCall]:
        """Returns a new connection, and the call that was made on it first."""
        opening = asyncio.ensure_future(self.channel.open(METHOD))
        wire = await self.taken()
        call = await opening
        call.ask(message)
        return wire, call

    async def serves(self, wire: Wire) -> None:
        """Makes another call, which is answered on the connection."""
        with await self.channel.open(METHOD) as call:
            while await wire.asked() != call.number:
                pass
            answer(wire, call.number, b"well")
            assert [await call.read(), await call.read()] == [b"well", None]


def answer(wire: Wire, number: int, *messages: bytes, status: str = "0") -> None:
    """Sends a whole answer."""
    wire.send(frames.header_frames(number, wire.block(ANSWER), 0, 16_384))
    wire.send(*(frames.frame(frames.DATA, 0, number, frames.prefixed(message)) for message in messages))
    wire.send(frames.header_frames(number, wire.block([("grpc-status", status)]), frames.END_STREAM, 16_384))


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    there, wires = Endpoint(), list[Wire]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wires.append(Wire(reader, writer))
        assert await reader.readexactly(len(frames.PREFACE)) == frames.PREFACE
        there.connections.put_nowait(wires[-1])

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    there.channel = Channel(f"127.0.0.1:{there.port}", LIMIT)
    try:
        yield there
    finally:
        for wire in wires:
            wire.cut()
        await there.channel.close()
        server.close()
