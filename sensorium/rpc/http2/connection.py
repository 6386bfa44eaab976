"""An HTTP/2 connection, whatever its streams are for: frames in, frames out, windows, pings, and its end."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import ACK, ConnectionFault, ErrorCode, FrameReader, frame, unpadded
from sensorium.rpc.http2.header_blocks import HEADER_LIST_BYTES, HeaderBlocks
from sensorium.rpc.http2.heartbeat import Heartbeat
from sensorium.rpc.http2.messages import BadMessage, MessageTooLarge
from sensorium.rpc.http2.metadata import Header
from sensorium.rpc.http2.output import Output
from sensorium.rpc.http2.stream import WINDOW, Stream
from sensorium.rpc.http2.tolerance import Allowance
from sensorium.rpc.http2.window import Window

_log = logging.getLogger("sensorium.rpc")

_WINDOW = 4 * 1024 * 1024
_CLOSE_SECONDS = 10.0
# Frames that say nothing new. Data that is sent earns some: its reader opens its windows again.
_IDLE_FRAMES, _IDLE_FRAMES_PER_SECOND = 2000, 500.0
# Few bytes stand for many headers, or for a change to every stream: beyond the usual, so many take as long as a frame.
_USUAL_HEADERS, _HEADERS_OF_A_FRAME, _STREAMS_OF_A_FRAME = 64, 8, 40
# Beside messages, which wait elsewhere, this much may wait for a peer: the longest statuses of all calls it may open.
_UNTAKEN_BYTES = 8 * 1024 * 1024
# Data from the middle of a message come in large parts, but for what a window has left.
_LEAST_PART_BYTES = 64

StreamT = TypeVar("StreamT", bound=Stream)


class Connection(asyncio.Protocol, ABC, Generic[StreamT]):
    """One connection. Belongs to the event loop."""

    def __init__(self, message_bytes: int) -> None:
        """Takes messages of so many bytes at most."""
        self.loop = asyncio.get_running_loop()
        self.output = Output(self.loop)
        self.peer_window = frames.FIRST_WINDOW
        """Window with which the peer begins a stream."""
        self.message_bytes = message_bytes
        self.expanding = asyncio.Lock()
        self.streams: dict[int, StreamT] = {}
        self.closed: asyncio.Future[None] = self.loop.create_future()
        """Done once the connection is no more."""
        self._headers = HeaderBlocks()
        self._reader = FrameReader()
        self._idle_frames = Allowance(_IDLE_FRAMES, _IDLE_FRAMES_PER_SECOND, "frames", time.monotonic())
        self._updates = 0
        self._greeted = False
        self._window = Window(_WINDOW)
        self._heartbeat: Heartbeat | None = None
        self._transport: Any = None
        self._takers: tuple[Callable[[int, int, bytes], None], ...] = (
            self._take_data,
            self._take_headers,
            self._take_priority,
            self._take_reset,
            self._take_settings,
            self._take_push,
            self._take_ping,
            self._take_goaway,
            self._take_window,
            self._take_continuation,
        )
        """By kind of frame."""

    # What its streams are for.

    @abstractmethod
    def _on_headers(self, number: int, headers: list[Header], ended: bool) -> None:
        """Takes the headers of a stream, or its trailers."""

    @abstractmethod
    def _on_reset(self, stream: StreamT, code: int | None) -> None:
        """Takes that a stream was reset, by either end, or has gone with the connection, and then has no code."""

    @abstractmethod
    def _on_bad_message(self, stream: StreamT, error: Exception) -> None:
        """Takes that what came is no message, or too large."""

    def _on_ping(self, now: float) -> None:
        """Raises ConnectionFault where there are too many."""

    def _on_ping_answer(self, payload: bytes) -> None:
        """Takes the answer to a ping."""

    @abstractmethod
    def _has_begun(self, number: int) -> bool:
        """Returns whether a stream has been opened, by whoever opens them."""

    # The transport's side.

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self._transport = self.output.transport = transport
        self._heartbeat = Heartbeat(self.loop, self._ping, transport.abort)

    def greet(self, settings: dict[int, int]) -> None:
        """Sends what a connection begins with."""
        told = {frames.INITIAL_WINDOW_SIZE: WINDOW, frames.MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTES, **settings}
        self.output.put(frames.settings_frame(told) + frames.window_frame(0, _WINDOW - frames.FIRST_WINDOW))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        assert self._heartbeat is not None
        self._heartbeat.heard = self.loop.time()
        try:
            for kind, flags, number, payload in self._frames(data):
                self._take(kind, flags, number, payload)
            if self._transport.get_write_buffer_size() > _UNTAKEN_BYTES:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "what is sent is not taken")
        except ConnectionFault as fault:
            _log.debug("a connection ends: %s", fault)
            self.end(fault.code, str(fault))
        except Exception:
            _log.exception("a connection failed")
            self.end(ErrorCode.INTERNAL_ERROR, "internal error")

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.output.pause()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.output.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        if self._heartbeat is not None:
            self._heartbeat.stop()
        for stream in list(self.streams.values()):
            self._on_reset(stream, None)
        self.streams.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def end(self, code: ErrorCode, text: str = "") -> None:
        """Says why, and closes."""
        if not self._transport.is_closing():
            self.output.put(frames.goaway_frame(self._last_taken(), code, text))
            self.output.flush()
            self._transport.close()
            # A peer that takes nothing would keep what waits for it.
            self.loop.call_later(_CLOSE_SECONDS, self._transport.abort)

    def _last_taken(self) -> int:
        return 0

    # Frames.

    def _frames(self, data: bytes) -> Iterator[frames.Frame]:
        return self._reader.frames(data)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._headers.open and (kind != frames.CONTINUATION or number != self._headers.open):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame stands among those of a header block")
        if not self._greeted:
            if kind != frames.SETTINGS or flags & ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame holds no settings")
            self._greet()
        if kind < len(self._takers):
            self._takers[kind](flags, number, payload)
        else:
            self._idle()

    def _greet(self) -> None:
        self._greeted = True
        assert self._heartbeat is not None
        self._heartbeat.greeted()

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        size, ended = len(payload), bool(flags & frames.END_STREAM)
        if not number or not self._has_begun(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "data for no stream")
        if not self._window.take(size):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more was sent than the window allows")
        if back := self._window.give_back():
            self.output.put(frames.window_frame(0, back))
        data = unpadded(payload, flags & frames.PADDED) if flags & frames.PADDED else payload
        stream = self.streams.get(number)
        if not ended and (not data or (len(data) < _LEAST_PART_BYTES and (stream is None or stream.unfinished))):
            self._idle()
        if stream is None:
            return  # it was reset on this end while the data was on its way
        if stream.ended_by_peer:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "data behind the end of a stream")
        try:
            stream.receive(data, size)
            if ended:
                stream.end_by_peer()
        except (BadMessage, MessageTooLarge) as error:
            self._on_bad_message(stream, error)

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        self._block(number, self._headers.begin(number, flags, unpadded(payload, flags)))

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        self._block(number, self._headers.add(flags, payload))

    def _block(self, number: int, block: tuple[int, list[Header]] | None) -> None:
        if block is not None:
            flags, headers = block
            self._idle(max(len(headers) - _USUAL_HEADERS, 0) // _HEADERS_OF_A_FRAME)
            self._on_headers(number, headers, bool(flags & frames.END_STREAM))

    def _take_priority(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority has the wrong size")
        self._idle()

    def _take_reset(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        code = frames.number(payload)
        if not number or not self._has_begun(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the end of no stream")
        stream = self.streams.get(number)
        if stream is None:
            self._idle()
        else:
            self._on_reset(stream, code)

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings of a stream")
        self._idle()
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an answer to settings says something")
            return
        before = self.peer_window
        for setting, value in frames.read_settings(payload):
            self._idle()
            self._set(setting, value)
        # Before all that new windows let go: a peer widens its own when it reads that.
        self.output.put(frame(frames.SETTINGS, ACK, 0))
        if self.peer_window != before:
            self._idle(len(self.streams) // _STREAMS_OF_A_FRAME)
            if not all(stream.widen(self.peer_window - before) for stream in list(self.streams.values())):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")

    def _set(self, setting: int, value: int) -> None:
        if setting == frames.INITIAL_WINDOW_SIZE:
            self.peer_window = value
        elif setting == frames.MAX_FRAME_SIZE:
            self.output.frame_bytes = min(value, 4 * frames.FRAME_BYTES)

    def _take_push(self, flags: int, number: int, payload: bytes) -> None:
        del flags, number, payload
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "nothing may be pushed")

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            code = ErrorCode.PROTOCOL_ERROR if number else ErrorCode.FRAME_SIZE_ERROR
            raise ConnectionFault(code, "a ping is malformed")
        self._idle()
        if flags & ACK:
            self._on_ping_answer(payload)
            return
        self._on_ping(time.monotonic())
        self.output.put(frame(frames.PING, ACK, 0, payload))

    def _take_goaway(self, flags: int, number: int, payload: bytes) -> None:
        """Does nothing: the peer closes when it has what it waits for."""
        del flags, number, payload
        self._idle()

    def _take_window(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        size = frames.number(payload) & frames.LARGEST_WINDOW
        self._updates += 1
        if self._updates > 2 * self.output.puts:
            self._idle()
        if not number:
            self.output.window += size
            if not size or self.output.window > frames.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window is not allowed")
            self.output.pump()
            return
        if not self._has_begun(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window of no stream")
        stream = self.streams.get(number)
        if stream is not None and not (size and stream.widen(size)):
            stream.reset(ErrorCode.FLOW_CONTROL_ERROR)
            self._on_reset(stream, ErrorCode.FLOW_CONTROL_ERROR)

    def _idle(self, count: int = 1) -> None:
        self._idle_frames.take(time.monotonic(), count)

    def _ping(self) -> None:
        self.output.put(frame(frames.PING, 0, 0, b"alive?\0\0"))
