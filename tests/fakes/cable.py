"""A TCP proxy that a test can cut, stall or slow down."""

import asyncio
from contextlib import suppress

from local.stack import free_ports


class Cable:
    """Inside `async with`, forwards TCP connections to a port of 127.0.0.1 until it is cut."""

    def __init__(self, port: int, seconds: float = 0.0) -> None:
        """`port` is the target; data is delayed by `seconds` in each direction."""
        self._target = port
        self._seconds = seconds
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        # Not an ephemeral port, which the kernel could give to a client while the cable is cut.
        (self.port,) = free_ports(1)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Cable":
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self, target: int | None = None) -> None:
        """Listens (again, on the same port) and forwards to `target`, by default the previous one."""
        self._target = target or self._target
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Aborts every connection and refuses new ones."""
        self._server.close()
        self._passing.set()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._flows, return_exceptions=True)
        await self._server.wait_closed()

    def hold(self) -> None:
        """Stops forwarding data but keeps connections open, like a machine that hangs."""
        self._passing.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pairs = ((reader, there_writer), (there_reader, writer))
        self._writers |= {writer, there_writer}
        flows = [asyncio.ensure_future(_flow(*pair, self._seconds, self._passing)) for pair in pairs]
        self._flows.update(flows)
        await asyncio.gather(*flows, return_exceptions=True)
        self._flows.difference_update(flows)
        self._writers -= {writer, there_writer}


async def _flow(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float, passing: asyncio.Event
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            await asyncio.sleep(seconds)
            await passing.wait()
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
