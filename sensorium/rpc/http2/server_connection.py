"""One connection at its server."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol
from urllib.parse import quote

from grpc import StatusCode

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.connection import Connection
from sensorium.rpc.http2.frames import PREFACE, ConnectionFault, ErrorCode
from sensorium.rpc.http2.header_blocks import HEADER_LIST_BYTES, header_bytes
from sensorium.rpc.http2.messages import MessageTooLarge
from sensorium.rpc.http2.metadata import ENCODINGS, Header, Malformed, received, seconds_of, split
from sensorium.rpc.http2.server_call import ServerCall
from sensorium.rpc.http2.tolerance import Allowance, PingLimit

MAX_CONCURRENT_STREAMS = 1000
"""Calls of one connection at a time."""

# A caller may cancel as many calls as run, and so many each second; calls that are answered earn one more each.
_RESETS_PER_SECOND = 200.0
_DRAIN = b"drain..\0"
_DRAIN_SECONDS = 1.0
_CLOSING = "The server is shutting down."


class House(Protocol):
    """The server of a connection."""

    message_bytes: int
    max_age_seconds: float | None

    def hold(self, size: int) -> None:
        """Takes that so many bytes more, or fewer, are there of messages that are not whole."""
        ...

    def find(self, method: str) -> Callable[[Any], Awaitable[Any]]:
        """Returns what finds the handler of a method, given the metadata of a call."""
        ...

    def entered(self, connection: "ServerConnection") -> None:
        """Takes a connection that was made."""
        ...

    def left(self, connection: "ServerConnection") -> None:
        """Takes that a connection is no more."""
        ...


class ServerConnection(Connection[ServerCall]):
    """Answers calls until its peer leaves, or the server does."""

    def __init__(self, server: House) -> None:
        super().__init__(server.message_bytes)
        self.peer = ""
        """Who is at the other end, as `ipv4:ADDRESS:PORT`."""
        self.unfinished = 0
        """Bytes that are there of messages that are not whole."""
        self._server = server
        self._preface = b""
        self._last = 0
        self._running: set[ServerCall] = set()
        self._pings = PingLimit()
        self._resets = Allowance(2 * MAX_CONCURRENT_STREAMS, _RESETS_PER_SECOND, "calls given up", time.monotonic())
        self._draining = False
        self._closing: asyncio.TimerHandle | None = None
        self._age: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.abort()
            return
        self.peer = _peer(transport.get_extra_info("peername"))
        self.greet({frames.MAX_CONCURRENT_STREAMS: MAX_CONCURRENT_STREAMS})
        if self._server.max_age_seconds is not None:
            # Not all at once, where all have come at once.
            age = self._server.max_age_seconds * random.uniform(0.9, 1.1)  # noqa: S311
            self._age = self.loop.call_later(age, self.drain)
        self._server.entered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        for timer in (self._closing, self._age):
            if timer is not None:
                timer.cancel()
        self._server.left(self)

    @property
    def empty(self) -> bool:
        """Whether no call is open and no handler runs."""
        return not self.streams and not self._running

    def hold(self, size: int) -> None:
        """See Carrier."""
        self.unfinished += size
        self._server.hold(size)

    def drain(self) -> None:
        """Lets the peer go elsewhere with new calls; closes when those that run have ended."""
        if self._draining or self._transport.is_closing():
            return
        self._draining = True
        # What is on its way is still answered: the peer's answer to a ping comes behind it.
        self.output.put(frames.goaway_frame(frames.LARGEST_WINDOW, ErrorCode.NO_ERROR))
        self.output.put(frames.frame(frames.PING, 0, 0, _DRAIN))
        self._closing = self.loop.call_later(_DRAIN_SECONDS, self._refuse_further)

    def cut(self) -> None:
        """Ends all calls, and closes."""
        for call in list(self.streams.values()):
            call.cut(StatusCode.UNAVAILABLE, _CLOSING)
        for call in self._running:
            call.cut(StatusCode.UNAVAILABLE, _CLOSING)
        self.end(ErrorCode.NO_ERROR)

    def send_headers(self, number: int, headers: Iterable[Header], *, ends: bool = False) -> None:
        """See Home."""
        block = self._headers.encode(headers)
        flags = frames.END_STREAM if ends else 0
        self.output.put(frames.header_frames(number, block, flags, self.output.frame_bytes))

    def forget(self, call: ServerCall) -> None:
        """See Home."""
        self.streams.pop(call.number, None)
        self._resets.earn()
        self._close_if_drained()

    def served(self, call: ServerCall) -> None:
        """See Home."""
        self._running.discard(call)
        self._close_if_drained()

    def _last_taken(self) -> int:
        return self._last

    def _frames(self, data: bytes) -> Iterator[frames.Frame]:
        if len(self._preface) < len(PREFACE):
            missing = len(PREFACE) - len(self._preface)
            self._preface, data = self._preface + data[:missing], data[missing:]
            if not PREFACE.startswith(self._preface):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        return super()._frames(data)

    def _has_begun(self, number: int) -> bool:
        return number % 2 == 1 and number <= self._last

    def _on_headers(self, number: int, headers: list[Header], ended: bool) -> None:
        if self._has_begun(number):
            self._on_trailers(number, ended)
            return
        if number % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
        self._last = number
        if self._closing is None and self._draining:
            self.output.put(frames.reset_frame(number, ErrorCode.REFUSED_STREAM))
        elif max(len(self.streams), len(self._running)) >= MAX_CONCURRENT_STREAMS:
            self._resets.take(time.monotonic())
            self.output.put(frames.reset_frame(number, ErrorCode.REFUSED_STREAM))
        else:
            self._begin(number, headers, ended)

    def _begin(self, number: int, headers: list[Header], ended: bool) -> None:
        try:
            pseudo, others = split(headers)
            told = dict(others)
            if not {b":method", b":path", b":scheme"} <= pseudo.keys() or b":status" in pseudo:
                raise Malformed("a request lacks headers")
            metadata, seconds = received(others), _seconds(told)
        except Malformed:
            self._resets.take(time.monotonic())
            self.output.put(frames.reset_frame(number, ErrorCode.PROTOCOL_ERROR))
            return
        if pseudo[b":method"] != b"POST":
            self._answer_http(number, b"405", ended)
            return
        if not told.get(b"content-type", b"").startswith(b"application/grpc"):
            self._answer_http(number, b"415", ended)
            return
        call = ServerCall(self, number, metadata, seconds)
        call.encoding = told.get(b"grpc-encoding", b"identity")
        call.ended_by_peer = ended
        self.streams[number] = call
        if header_bytes(headers) > HEADER_LIST_BYTES:
            call.end(StatusCode.RESOURCE_EXHAUSTED, f"The metadata are larger than {HEADER_LIST_BYTES} bytes.")
        elif call.encoding not in ENCODINGS.split(b","):
            call.set_trailing_metadata((("grpc-accept-encoding", ENCODINGS),))
            call.end(StatusCode.UNIMPLEMENTED, "The compression of the messages is not known here.")
        else:
            find = self._server.find(pseudo[b":path"].decode("latin-1"))
            self._running.add(call)
            call.task = self.loop.create_task(call.serve(find))

    def _answer_http(self, number: int, status: bytes, ended: bool) -> None:
        self._resets.take(time.monotonic())
        self.send_headers(number, ((b":status", status),), ends=True)
        if not ended:
            self.output.put(frames.reset_frame(number, ErrorCode.NO_ERROR))

    def _on_trailers(self, number: int, ended: bool) -> None:
        call = self.streams.get(number)
        if call is None:
            self._idle()
        elif not ended or call.ended_by_peer:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers in the middle of a stream")
        else:
            call.end_by_peer()

    def _on_reset(self, stream: ServerCall, code: int | None) -> None:
        del code
        self.streams.pop(stream.number, None)
        stream.abandon()
        if not self._transport.is_closing():
            self._resets.take(time.monotonic())
        self._close_if_drained()

    def _on_bad_message(self, stream: ServerCall, error: Exception) -> None:
        full = isinstance(error, MessageTooLarge)
        stream.cut(StatusCode.RESOURCE_EXHAUSTED if full else StatusCode.INTERNAL, str(error))

    def _on_ping(self, now: float) -> None:
        self._pings.take(now, self.output.puts)

    def _on_ping_answer(self, payload: bytes) -> None:
        if payload == _DRAIN and self._closing is not None:
            self._refuse_further()

    def _refuse_further(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
            self.output.put(frames.goaway_frame(self._last, ErrorCode.NO_ERROR))
            self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._draining and self._closing is None and self.empty:
            self.end(ErrorCode.NO_ERROR)


def _seconds(headers: dict[bytes, bytes]) -> float | None:
    timeout = headers.get(b"grpc-timeout")
    return None if timeout is None else seconds_of(timeout)


def _peer(address: Any) -> str:
    if not isinstance(address, tuple) or len(address) < 2:
        return "unknown"
    host, port = str(address[0]), int(address[1])
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"
