"""The sending half of a connection: what is made in one turn of the event loop leaves in one write."""

import asyncio
from collections import deque
from typing import Protocol

from sensorium.rpc.http2.frames import FIRST_WINDOW, FRAME_BYTES

# What is made without a pause in between is written when it comes to this, so that the transport can say stop.
_MOST_BYTES = 256 * 1024


class Waiting(Protocol):
    """A stream that has more to send than it may."""

    queued: bool
    """Whether it is in the queue of an Output."""

    def push(self) -> bool:
        """Sends one frame, if its window allows. Returns whether it could go on at once."""
        ...


class Output:
    """Frames on their way out, and the streams that wait until the peer takes more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.window = FIRST_WINDOW
        """Bytes of data that the peer takes of all streams together."""
        self.frame_bytes = FRAME_BYTES
        """Largest payload that the peer takes."""
        self.paused = False
        """Whether the transport is full."""
        self.transport: asyncio.WriteTransport | None = None
        self.puts = 0
        """How often something was sent."""
        self._loop = loop
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._due = False
        self._waiting: deque[Waiting] = deque()

    def put(self, piece: bytes) -> None:
        """Sends frames behind those that were put before."""
        self.puts += 1
        self._pieces.append(piece)
        self._bytes += len(piece)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush_due)
        elif self._bytes > _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Gives the transport all that was put."""
        if not self._pieces:
            return
        data = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        self._pieces.clear()
        self._bytes = 0
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def wait(self, stream: Waiting) -> None:
        """Lets a stream send as soon as it may, in turn with the others."""
        if not stream.queued:
            stream.queued = True
            self._waiting.append(stream)
        self.pump()

    def pump(self) -> None:
        """Sends what may be sent of the streams that wait."""
        while self._waiting and self.window > 0 and not self.paused:
            stream = self._waiting.popleft()
            if stream.push():
                self._waiting.append(stream)
            else:
                stream.queued = False

    def pause(self) -> None:
        """Stops streams: the transport is full."""
        self.paused = True

    def resume(self) -> None:
        """Lets streams go on."""
        self.paused = False
        self.pump()

    def _flush_due(self) -> None:
        self._due = False
        self.flush()
