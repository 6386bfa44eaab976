"""A stream of messages: those that came, those on their way, and the windows that bound them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from sensorium.rpc.http2.frames import (
    DATA,
    FRAME_BYTES,
    LARGEST_WINDOW,
    ConnectionFault,
    ErrorCode,
    frame,
    message_frame,
    prefixed,
    reset_frame,
    window_frame,
)
from sensorium.rpc.http2.messages import Assembler, BadMessage, decompressed
from sensorium.rpc.http2.output import Output
from sensorium.rpc.http2.window import Window

WINDOW = 256 * 1024
"""Bytes of a stream that may come before somebody reads them: thousands of deltas, and 250 MB/s at a millisecond."""

_AT_ONCE = 32
"""Messages that a handler reads, or writes, before others on the event loop have their turn."""

_AHEAD = 64
"""Messages that are cut out before somebody reads them. What comes behind them waits as it came: a message takes a
hundred bytes beside its own, of which it may have none."""


class Carrier(Protocol):
    """The connection of a stream."""

    output: Output
    peer_window: int
    message_bytes: int
    expanding: asyncio.Lock
    """Held while one of its messages is expanded, so that those of other connections have their turn."""

    def hold(self, size: int) -> None:
        """Takes that so many bytes more, or fewer, are there of a message that is not whole."""
        ...


class Stream:
    """One stream of a connection. Belongs to the event loop."""

    def __init__(self, connection: Carrier, number: int) -> None:
        self.number = number
        self.queued = False
        self.encoding = b"identity"
        """How the peer compresses the messages that it marks as compressed."""
        self.begun_by_peer = False
        """Whether the peer has sent anything but headers."""
        self.ended_by_peer = False
        """Whether the peer will send no more."""
        self.gone = False
        """Whether the call is over for one of both, so that nothing can be sent or read any more."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._output = connection.output
        self._limit = connection.message_bytes
        self._send_window = connection.peer_window
        self._pending: deque[memoryview] = deque()
        self._behind: Callable[[], None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._window = Window(WINDOW)
        self._messages: deque[tuple[bool, bytes]] = deque()
        self._at_once = 0
        self._uncut = bytearray()
        self._assembler = Assembler(self._limit)
        self._arrived: asyncio.Future[None] | None = None
        self._taker: Callable[[bytes], bool] | None = None
        self._had_all = False

    def send(self, message: bytes) -> None:
        """Sends a message as soon as the peer takes it; see `drained`."""
        if not self.send_at_once(message):
            self._pending.append(memoryview(prefixed(message)))
            self._output.wait(self)

    def send_at_once(self, message: bytes) -> bool:
        """Sends a message if the peer takes it now; returns whether it did."""
        size, output = len(message) + 5, self._output
        if (
            size <= self._send_window
            and size <= output.window
            and size <= output.frame_bytes
            and not self._pending
            and not output.paused
        ):
            self._send_window -= size
            output.window -= size
            output.put(message_frame(self.number, message))
            return True
        return False

    def behind(self, action: Callable[[], None]) -> None:
        """Does something once all messages have left; at once if they have."""
        if self._pending:
            self._behind = action
        else:
            action()

    async def drained(self) -> None:
        """Returns when all messages have left, or nothing can be sent any more."""
        while self._pending and not self.gone:
            if self._drained is None or self._drained.done():
                self._drained = self._loop.create_future()
            await self._drained

    def push(self) -> bool:
        """See Waiting."""
        if not self._pending:
            return False
        piece, output = self._pending[0], self._output
        size = min(len(piece), self._send_window, output.window, output.frame_bytes)
        if size <= 0:
            return False
        self._send_window -= size
        output.window -= size
        if size == len(piece):
            self._pending.popleft()
        else:
            self._pending[0] = piece[size:]
        output.put(frame(DATA, 0, self.number, bytes(piece[:size])))
        if self._pending:
            return self._send_window > 0
        self._wake(self._drained)
        behind, self._behind = self._behind, None
        if behind is not None:
            behind()
        return False

    def widen(self, size: int) -> bool:
        """Takes what the peer allows in addition, or takes back. Returns False where that is more than there may be."""
        self._send_window += size
        if self._pending and self._send_window > 0 and not self.queued:
            self._output.wait(self)
        return self._send_window <= LARGEST_WINDOW

    @property
    def unfinished(self) -> int:
        """Bytes that have come of a message, and not its end."""
        return self._assembler.size

    def receive(self, data: bytes, size: int) -> None:
        """Takes the data of a frame that used up `size` of the window.

        Raises:
            ConnectionFault: the window is not as large.
            BadMessage, MessageTooLarge: see Assembler.
        """
        self.begun_by_peer = True
        if not self._window.take(size):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more was sent than the window of a stream allows")
        if self._had_all:
            return
        if self._uncut or len(self._messages) >= _AHEAD:
            self._uncut += data
        else:
            self._cut(data)
        if self._taker is not None and self._arrived is not None and not self._arrived.done():
            self._hand_over(self._taker)
        # What is a part of a message only must not wait for its reader, who waits for the rest.
        if self._messages:
            self._wake(self._arrived)
        else:
            self._give_back()

    def end_by_peer(self) -> None:
        """Takes that the peer has sent everything."""
        self.ended_by_peer = True
        self._wake(self._arrived)

    async def next_message(self) -> bytes | None:
        """Returns the next message; None at their end.

        Raises:
            BadMessage, MessageTooLarge: what came is no message.
        """
        while not self._messages:
            if self._uncut:
                self._cut(bytes(self._uncut[:FRAME_BYTES]))
                del self._uncut[:FRAME_BYTES]
                continue
            if self.gone or self.ended_by_peer:
                if self.unfinished and not self.gone:
                    raise BadMessage("The stream ended in the middle of a message.")
                return None
            self._give_back()
            self._arrived = self._loop.create_future()
            await self._arrived
        compressed, message = self._messages.popleft()
        if not (self._messages or self._uncut):
            self._give_back()
        await self.take_turn()
        if compressed:
            return await decompressed(message, self.encoding, self._limit, self._connection.expanding)
        return message

    def expect_no_more(self) -> None:
        """Drops the messages behind the one that a call has, which would be kept for as long as its answer takes."""
        self._had_all = True
        self._messages.clear()
        self._uncut.clear()
        self.drop_unfinished()

    async def take_turn(self) -> None:
        """Lets others on the event loop have their turn, now and then."""
        self._at_once += 1
        if self._at_once >= _AT_ONCE:
            self._at_once = 0
            await asyncio.sleep(0)

    def pass_to(self, taker: Callable[[bytes], bool]) -> None:
        """Hands messages that come while `next_message` waits to `taker` first; it returns whether it took one."""
        self._taker = taker

    def let_go(self) -> None:
        """Drops what was not sent yet, and wakes who waits for the peer."""
        self.gone = True
        self.drop_unfinished()
        self._pending.clear()
        self._behind = self._taker = None
        self._wake(self._drained)
        self._wake(self._arrived)

    def drop_unfinished(self) -> None:
        """Drops what has come of a message that nobody waits for any more."""
        if size := self.unfinished:
            self._assembler.drop()
            self._connection.hold(-size)

    def reset(self, code: ErrorCode) -> None:
        """Tells the peer that the stream is over."""
        self._output.put(reset_frame(self.number, code))

    def _cut(self, data: bytes) -> None:
        before = self.unfinished
        try:
            self._messages += self._assembler.feed(data)
        finally:
            if self.unfinished != before:
                self._connection.hold(self.unfinished - before)
            if self.gone:
                self.drop_unfinished()

    def _hand_over(self, taker: Callable[[bytes], bool]) -> None:
        while self._messages:
            compressed, message = self._messages[0]
            if compressed or not taker(message):
                return
            self._messages.popleft()

    def _give_back(self) -> None:
        back = 0 if self.ended_by_peer else self._window.give_back()
        if back:
            self._output.put(window_frame(self.number, back))

    def _wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
