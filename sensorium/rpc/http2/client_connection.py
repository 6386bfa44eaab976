"""One connection at its client."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.client_call import ClientCall
from sensorium.rpc.http2.connection import Connection
from sensorium.rpc.http2.frames import PREFACE, ConnectionFault, ErrorCode
from sensorium.rpc.http2.metadata import ENCODINGS, Header, sent, timeout_of
from sensorium.rpc.http2.outcome import error_name
from sensorium.rpc.http2.tolerance import Allowance

# A server is trusted further than a caller. Of streams that are given up all together, as when a caller of hundreds
# leaves, everything comes that was on its way.
_IDLE_FRAMES, _IDLE_FRAMES_PER_SECOND = 100_000, 5_000.0
_TEXT_BYTES = 200


class ClientConnection(Connection[ClientCall]):
    """Begins calls until either side leaves."""

    def __init__(self, authority: str, scheme: str, message_bytes: int) -> None:
        super().__init__(message_bytes)
        self.greeted: asyncio.Future[bool] = self.loop.create_future()
        """Done when the server has greeted; False: it will not."""
        self.reason = "The connection was lost."
        """Why it is no more, when it is."""
        self._head = (
            (b":method", b"POST"),
            (b":scheme", scheme.encode()),
            (b":authority", authority.encode("ascii", "replace")),
        )
        self._idle_frames = Allowance(_IDLE_FRAMES, _IDLE_FRAMES_PER_SECOND, "frames", time.monotonic())
        self._number = 1
        self._most_streams = frames.LARGEST_WINDOW
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = False

    @property
    def usable(self) -> bool:
        """Whether calls may still begin here."""
        return not self._left and self._number <= frames.LARGEST_WINDOW

    @property
    def has_room(self) -> bool:
        """Whether a call may begin here now, and none waits for that."""
        return self.usable and not self._waiting and len(self.streams) < self._most_streams

    async def room(self) -> None:
        """Returns when a call may begin, in the order of those who ask, or none may any more."""
        while self.usable and not self.has_room:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.cancelled():
                    self._waiting.remove(waiter)
                else:
                    self._let_in()  # the next one takes the place
                raise
            if self.usable and len(self.streams) < self._most_streams:
                return

    def open(self, method: str, metadata: Iterable[tuple[str, str | bytes]], seconds: float | None) -> ClientCall:
        """Begins a call, where there is room, with a time if there is one.

        Raises:
            ValueError: the metadata cannot be sent.
        """
        headers = [
            *self._head,
            (b":path", method.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"sensorium"),
            (b"grpc-accept-encoding", ENCODINGS),
        ]
        if seconds is not None:
            headers.append((b"grpc-timeout", timeout_of(seconds)))
        headers += sent(metadata)
        number, self._number = self._number, self._number + 2
        call = self.streams[number] = ClientCall(self, number, seconds)
        self.output.put(frames.header_frames(number, self._headers.encode(headers), 0, self.output.frame_bytes))
        self._let_in()
        return call

    def close(self, why: str) -> None:
        """Ends all calls, and closes."""
        self.end(ErrorCode.NO_ERROR, why)

    # The transport's side.

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.reason = "The server does not speak HTTP/2."
            transport.abort()
            return
        self.output.put(PREFACE)
        self.greet({frames.ENABLE_PUSH: 0})

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if exc is not None and not self._left:
            self.reason = str(exc)
        self._leave()
        super().connection_lost(exc)

    def end(self, code: ErrorCode, text: str = "") -> None:
        """See Connection. Calls end at once, however long the server takes to notice."""
        if text and not self._left:
            self.reason = text
        self._leave()
        super().end(code, text)
        for call in list(self.streams.values()):
            call.lose(self.reason)

    def _leave(self) -> None:
        self._left = True
        if not self.greeted.done():
            self.greeted.set_result(False)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _greet(self) -> None:
        super()._greet()
        if not self.greeted.done():
            self.greeted.set_result(True)

    # Calls.

    def hold(self, size: int) -> None:
        """See Carrier. What an endpoint's calls are is asked by this side, and bounded by who asks."""

    def forget(self, call: ClientCall) -> None:
        """See Home."""
        self.streams.pop(call.number, None)
        self._let_in()
        self._close_if_left()

    def _let_in(self) -> None:
        """Wakes the first of those who wait, if there is room."""
        while self._waiting and len(self.streams) < self._most_streams:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _close_if_left(self) -> None:
        if not (self.usable or self.streams or self._transport.is_closing()):
            self.end(ErrorCode.NO_ERROR)

    # Frames.

    def _has_begun(self, number: int) -> bool:
        return number % 2 == 1 and number < self._number

    def _on_headers(self, number: int, headers: list[Header], ended: bool) -> None:
        if not self._has_begun(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers of a stream that nobody asked for")
        call = self.streams.get(number)
        if call is None:
            self._idle()  # it was reset on this end while they were on their way
            return
        call.take_headers(headers, ended)
        if not call.begun and not call.gone:
            self._idle()

    def _on_reset(self, stream: ClientCall, code: int | None) -> None:
        if code is None:
            stream.lose(self.reason)
        else:
            stream.reset_by_peer(code)

    def _on_bad_message(self, stream: ClientCall, error: Exception) -> None:
        stream.refuse(error)

    def _set(self, setting: int, value: int) -> None:
        super()._set(setting, value)
        if setting == frames.MAX_CONCURRENT_STREAMS:
            self._most_streams = value
            self._let_in()
        elif setting == frames.ENABLE_PUSH and value:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "nothing may be pushed")

    def _take_goaway(self, flags: int, number: int, payload: bytes) -> None:
        super()._take_goaway(flags, number, payload)
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a farewell to a stream")
        last, code = frames.read_goaway(payload)
        if not self._left:
            text = payload[8 : 8 + _TEXT_BYTES].decode("utf-8", "replace")
            self.reason = f"The server closed the connection: {error_name(code)} {text}".rstrip()
        self._leave()
        for call in list(self.streams.values()):
            if call.number > last:
                call.lose(f"The server did not begin the call. {self.reason}")
        self._close_if_left()
