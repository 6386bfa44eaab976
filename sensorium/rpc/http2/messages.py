"""Cuts a stream's bytes into messages, within a limit of their size."""

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from struct import Struct

_PREFIX = Struct(">BL")
# Above this, what a message expands to could hold the event loop up.
_AT_ONCE_BYTES = 64 * 1024
# One at a time: a few kilobytes expand to the largest message, and many of those at once take memory and processors.
_EXPANDER = ThreadPoolExecutor(1, "expander")


class BadMessage(Exception):
    """What came is not a message of gRPC; the text says why."""


class MessageTooLarge(Exception):
    """A message is larger than allowed; the text says how large."""


class Assembler:
    """Puts messages together from pieces of any size."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def size(self) -> int:
        """Bytes that are there of a message that is not whole."""
        return len(self._buffer)

    def drop(self) -> None:
        """Drops them."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Returns the messages that are whole with `data`, each with whether it is compressed.

        Raises:
            BadMessage: its first byte is not allowed.
            MessageTooLarge: one is going to be larger than allowed.
        """
        if not self._buffer and len(data) >= 5:  # mostly, a frame holds one message
            flag, size = _PREFIX.unpack_from(data)
            if size == len(data) - 5 <= self._limit and flag <= 1:
                return [(flag == 1, data[5:])]
        buffer = self._buffer
        buffer += data
        found: list[tuple[bool, bytes]] = []
        position = 0
        while len(buffer) - position >= 5:
            flag, size = _PREFIX.unpack_from(buffer, position)
            if flag > 1:
                raise BadMessage("The bytes are not a message of gRPC.")
            if size > self._limit:
                raise MessageTooLarge(f"Received message larger than max ({size} vs. {self._limit}).")
            stop = position + 5 + size
            if stop > len(buffer):
                break
            found.append((flag == 1, bytes(memoryview(buffer)[position + 5 : stop])))
            position = stop
        del buffer[:position]
        return found


async def decompressed(message: bytes, encoding: bytes, limit: int, turn: asyncio.Lock) -> bytes:
    """Returns a message whose bytes are compressed. Whose `turn` it is expands one that is large; others wait.

    Raises:
        BadMessage: they are not, or not in this way.
        MessageTooLarge: it is larger than `limit`; no more than that is kept on the way.
    """
    if encoding not in (b"gzip", b"deflate"):
        raise BadMessage("A message is marked as compressed, and its headers do not say how.")
    data = _expand(message, encoding, min(limit, _AT_ONCE_BYTES)) if len(message) < _AT_ONCE_BYTES else None
    if data is None:
        async with turn:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(_EXPANDER, _expand, message, encoding, limit)
    if data is None:
        raise MessageTooLarge(f"Received message larger than max (more than {limit} bytes when decompressed).")
    return data


def _expand(message: bytes, encoding: bytes, most: int) -> bytes | None:
    """Returns what a message expands to; None where that is more than `most` bytes. Raises BadMessage."""
    expander = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == b"gzip" else 0))
    try:
        data = expander.decompress(message, most + 1)
    except zlib.error:
        raise BadMessage("A message is marked as compressed, and is not.") from None
    if len(data) > most:
        return None
    if not expander.eof:
        raise BadMessage("A compressed message is cut off.")
    return data
