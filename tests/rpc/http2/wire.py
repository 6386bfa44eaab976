"""A client, or the server's end of a connection, that says what none should, frame by frame."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from hpack import Decoder, Encoder

from sensorium.rpc.http2 import frames
from tests.rpc.peer import UNARY

REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", UNARY),
    (":authority", "test"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._cut = frames.FrameReader()
        self._encoder, self._decoder = Encoder(), Decoder()
        self._came: list[frames.Frame] = []
        self.request: dict[str, str] = {}
        """Headers of the call that was asked for last."""

    def greet(self, **settings: int) -> None:
        """Sends preface and settings, by the names of `frames`."""
        told = {getattr(frames, name.upper()): value for name, value in settings.items()}
        self.send(frames.PREFACE + frames.settings_frame(told))
        self._decoder.max_allowed_table_size = told.get(frames.HEADER_TABLE_SIZE, 4096)

    def send(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))

    def block(self, headers: Iterable[tuple[str, str]] = REQUEST, **more: str) -> bytes:
        """Returns a header block; `more` are metadata, with _ for -."""
        return self._encoder.encode([*headers, *((key.replace("_", "-"), value) for key, value in more.items())])

    def call(self, number: int, message: bytes = b"", **more: str) -> None:
        """Sends a whole unary call."""
        headers = frames.header_frames(number, self.block(**more), 0, 16_384)
        self.send(headers, frames.frame(frames.DATA, frames.END_STREAM, number, frames.prefixed(message)))

    async def frame(self) -> frames.Frame | None:
        """Returns the next frame; None once the connection has ended."""
        async with asyncio.timeout(60):
            while not self._came:
                try:
                    data = await self._reader.read(65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._came += self._cut.frames(data)
        return self._came.pop(0)

    async def until(self, kind: int, number: int = 0) -> tuple[int, bytes]:
        """Returns flags and payload of the next frame of this kind, of this stream if it is given."""
        while (came := await self.frame()) is not None:
            if came[0] == frames.HEADERS and kind != frames.HEADERS:
                self.headers(came[3])
            if came[0] == kind and number in (0, came[2]):
                return came[1], came[3]
        raise AssertionError("the connection ended before")

    async def asked(self) -> int:
        """Returns the number of the next stream that is opened."""
        while True:
            came = await self.frame()
            assert came is not None
            if came[0] == frames.HEADERS:
                self.request = self.headers(came[3])
                return came[2]

    def cut(self) -> None:
        self._writer.transport.abort()

    def headers(self, block: bytes) -> dict[str, str]:
        return dict(self._decoder.decode(block))

    async def trailers(self, number: int) -> dict[str, str]:
        """Returns the headers that end a stream."""
        while True:
            flags, block = await self.until(frames.HEADERS, number)
            found = self.headers(block)
            if flags & frames.END_STREAM:
                return found

    async def farewell(self) -> int:
        """Returns the code that the connection ends with."""
        code = -1
        while (came := await self.frame()) is not None:
            if came[0] == frames.GOAWAY:
                code = int.from_bytes(came[3][4:8])
        return code


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
