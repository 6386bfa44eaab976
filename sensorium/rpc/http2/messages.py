"""Cuts a stream's bytes into messages, within a limit of their size."""

import asyncio
import zlib
from struct import Struct

_PREFIX = Struct(">BL")
# Above this, what a message expands to could hold the event loop up.
_THREAD_BYTES = 4096


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


async def decompressed(message: bytes, encoding: bytes, limit: int) -> bytes:
    """Returns a message whose bytes are compressed.

    Raises:
        BadMessage: they are not, or not in this way.
        MessageTooLarge: it is larger than `limit`; no more than that is kept on the way.
    """
    if encoding not in (b"gzip", b"deflate"):
        raise BadMessage("A message is marked as compressed, and its headers do not say how.")
    if len(message) < _THREAD_BYTES:
        return _expand(message, encoding, limit)
    return await asyncio.to_thread(_expand, message, encoding, limit)


def _expand(message: bytes, encoding: bytes, limit: int) -> bytes:
    expander = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == b"gzip" else 0))
    try:
        data = expander.decompress(message, limit + 1)
    except zlib.error:
        raise BadMessage("A message is marked as compressed, and is not.") from None
    if len(data) > limit:
        raise MessageTooLarge(f"Received message larger than max (more than {limit} bytes when decompressed).")
    if not expander.eof:
        raise BadMessage("A compressed message is cut off.")
    return data
