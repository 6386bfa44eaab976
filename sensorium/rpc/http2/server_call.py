"""One call at its server: what handlers know as their context."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NoReturn, Protocol

import grpc
from grpc import StatusCode

from sensorium.rpc.http2.frames import ErrorCode
from sensorium.rpc.http2.messages import BadMessage, MessageTooLarge
from sensorium.rpc.http2.metadata import ENCODINGS, Header, Pairs, sent, trailers
from sensorium.rpc.http2.stream import Carrier, Stream

_log = logging.getLogger("sensorium.rpc")
_aio: Any = grpc.aio

_OPENING = ((b":status", b"200"), (b"content-type", b"application/grpc"))
# grpc.aio's client takes INTERNAL for the status that finds it before its first message has left (grpc/grpc#36066).
_REFUSAL_SECONDS = 0.01
_LONGEST_SECONDS = 10 * 365 * 86_400.0


class Home(Carrier, Protocol):
    """The connection of a call."""

    peer: str

    def send_headers(self, number: int, headers: Iterable[Header], *, ends: bool = False) -> None:
        """Sends headers, with which the stream ends if `ends`."""
        ...

    def forget(self, call: "ServerCall") -> None:
        """Takes that nothing more is sent or expected of a call."""
        ...

    def served(self, call: "ServerCall") -> None:
        """Takes that the handler of a call has ended."""
        ...


class ServerCall(Stream):
    """One call. Stands for `grpc.aio.ServicerContext` in what handlers of this repository use of it."""

    def __init__(self, home: Home, number: int, metadata: Pairs, seconds: float | None) -> None:
        """Begins the call's time, of which there are so many seconds; None: as many as it takes."""
        super().__init__(home, number)
        self.task: asyncio.Task[None] | None = None
        self._home = home
        self._metadata = metadata
        self._serializer: Callable[[Any], bytes] | None = None
        self._opened = False
        self._ended = False
        self._code: StatusCode | None = None
        self._details = ""
        self._trailing: Pairs = ()
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if seconds is not None:
            seconds = min(seconds, _LONGEST_SECONDS)
            self._deadline = time.monotonic() + seconds
            self._timer = self._loop.call_later(seconds, self._expire)

    # What handlers use.

    def invocation_metadata(self) -> Pairs:
        """Returns the caller's metadata."""
        return self._metadata

    def peer(self) -> str:
        """Returns who calls, as `ipv4:ADDRESS:PORT`."""
        return self._home.peer

    def time_remaining(self) -> float | None:
        """Returns the seconds until the deadline, 0 at least; None if there is none."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def code(self) -> StatusCode | None:
        """Returns the code the call has ended with."""
        return self._code

    def done(self) -> bool:
        """Returns whether the call has ended, or the caller has left."""
        return self._ended or self.gone

    def trailing_metadata(self) -> Pairs:
        """Returns the metadata that the call ends with."""
        return self._trailing

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Sets the metadata that the call ends with."""
        self._trailing = tuple(metadata)

    async def send_initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Sends metadata before all messages. Raises UsageError if they were sent before."""
        if self._opened:
            raise _aio.UsageError("initial metadata were sent before")
        self._open(metadata)

    async def write(self, message: Any, seconds: float | None = None) -> None:
        """Sends a message; returns when the peer's windows and the transport have taken it.

        Raises:
            TimeoutError: that took longer than `seconds`, if any are given. It still leaves before all later ones.
            InternalError: the call has ended.
            AbortError: the message is larger than messages may be, and the call has ended with that.
        """
        data: bytes = message if self._serializer is None else self._serializer(message)
        if len(data) > self._limit:
            text = f"Sent message larger than max ({len(data)} vs. {self._limit})."
            await self.abort(StatusCode.RESOURCE_EXHAUSTED, text)
        if self.gone or self._ended:
            raise _aio.InternalError("the call has ended")
        if not self._opened:
            self._open(())
        self.send(data)
        if self._pending:
            async with asyncio.timeout(seconds):
                await self.drained()
        else:  # mostly, and then no timer is worth its price
            await self.take_turn()

    def offer(self, message: Any) -> bool:
        """Sends a message, not the first, if it can leave at once. Returns False where it is to be written instead."""
        if not self._opened or self.gone or self._ended:
            return False
        data: bytes = message if self._serializer is None else self._serializer(message)
        return len(data) <= self._limit and self.send_at_once(data)

    async def read(self) -> Any:
        """Returns the caller's next message as bytes; EOF at their end. Raises AbortError where it cannot be read."""
        message = await self._next()
        return _aio.EOF if message is None else message

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> NoReturn:
        """Ends the call. Raises AbortError, which a handler lets pass."""
        self._trailing = tuple(trailing_metadata) or self._trailing
        self.end(code, details, self._trailing)
        raise _aio.AbortError("the call was ended")

    # What its connection uses.

    async def serve(self, find: Callable[[Pairs], Awaitable[Any]]) -> None:
        """Answers by the handler that `find` returns; None answers that there is none."""
        try:
            handler = await find(self._metadata)
            if handler is None:
                self.end(StatusCode.UNIMPLEMENTED, "There is no such method here.")
                return
            await self._answer(handler)
            self.end(self._code or StatusCode.OK, self._details, self._trailing)
        except asyncio.CancelledError:
            self.end(StatusCode.CANCELLED, "The call was cancelled.")
            raise
        except (_aio.AbortError, _aio.InternalError):
            self.end(StatusCode.INTERNAL, "The call broke off.")  # which it has been, mostly, before
        except Exception:
            _log.exception("a handler failed")
            self.end(StatusCode.UNKNOWN, "The handler failed.")
        finally:
            # A task that was cancelled keeps what was raised in it, and with that all that its frames held.
            self.task = None
            self._home.served(self)

    def end(self, code: StatusCode, details: str = "", trailing: Pairs = ()) -> None:
        """Sends the status, behind the messages that wait. Without effect if the call has ended."""
        if self._ended or self.gone:
            return
        self._ended, self._code, self._details = True, code, details
        if self._timer is not None:
            self._timer.cancel()
        headers = trailers(code, details, trailing)
        if code is not StatusCode.OK and not (self.begun_by_peer or self.ended_by_peer):
            self._loop.call_later(_REFUSAL_SECONDS, self.behind, lambda: self._close(headers))
        else:
            self.behind(lambda: self._close(headers))

    def cut(self, code: StatusCode, details: str) -> None:
        """Ends the call and its handler."""
        self._pending.clear()  # a reader that takes nothing would keep the status from leaving
        behind, self._behind = self._behind, None
        if behind is not None:
            behind()
        self.end(code, details)
        self._cancel()

    def abandon(self) -> None:
        """Takes that the caller has left."""
        if self._timer is not None:
            self._timer.cancel()
        self.let_go()
        self._cancel()

    def _cancel(self) -> None:
        if self.task is not None and not self.task.done():
            self.task.cancel()

    def _expire(self) -> None:
        self.end(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._cancel()

    async def _answer(self, handler: Any) -> None:
        self._serializer = handler.response_serializer
        # None where a call that has one message ended without it.
        requests: Any = self._requests() if handler.request_streaming else await self._next()
        if not handler.request_streaming:
            self.expect_no_more()
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            await behaviour(requests, self)
        else:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            await self.write(await behaviour(requests, self))

    async def _requests(self) -> AsyncIterator[bytes]:
        while (request := await self._next()) is not None:
            yield request

    async def _next(self) -> bytes | None:
        try:
            return await self.next_message()
        except MessageTooLarge as error:
            await self.abort(StatusCode.RESOURCE_EXHAUSTED, str(error))
        except BadMessage as error:
            await self.abort(StatusCode.INTERNAL, str(error))

    def _open(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        if self.gone or self._ended:
            return
        self._opened = True
        own = (b"grpc-accept-encoding", ENCODINGS)
        self._home.send_headers(self.number, (*_OPENING, own, *sent(metadata)))

    def _close(self, headers: list[Header]) -> None:
        if self.gone:
            return
        # A call that fails before its answer begins has one block of headers for both.
        self._home.send_headers(self.number, headers if self._opened else (*_OPENING, *headers), ends=True)
        if not self.ended_by_peer:
            self.reset(ErrorCode.NO_ERROR)
        self.gone = True
        self.drop_unfinished()
        self._home.forget(self)
