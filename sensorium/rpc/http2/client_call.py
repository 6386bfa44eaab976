"""One call at its client."""

import asyncio
import re
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

import grpc
from grpc import StatusCode

from sensorium.rpc.http2 import outcome
from sensorium.rpc.http2.frames import DATA, END_STREAM, ErrorCode, frame
from sensorium.rpc.http2.header_blocks import HEADER_LIST_BYTES, header_bytes
from sensorium.rpc.http2.messages import BadMessage, MessageTooLarge
from sensorium.rpc.http2.metadata import Header, Malformed, Pairs, received, split
from sensorium.rpc.http2.outcome import Outcome
from sensorium.rpc.http2.stream import Carrier, Stream

_aio: Any = grpc.aio
_HTTP_STATUS = re.compile(rb"[1-9][0-9]{2}")
_LONGEST_SECONDS = 10 * 365 * 86_400.0
_TOO_LATE = Outcome(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


class Home(Carrier, Protocol):
    """The connection of a call."""

    def forget(self, call: "ClientCall") -> None:
        """Takes that a call has ended."""
        ...


class ClientCall(Stream):
    """One call, on raw messages both ways. It is given up on exit of `with`, unless it has ended.

    Messages that came before its end can still be read behind it.
    """

    def __init__(self, home: Home, number: int, seconds: float | None) -> None:
        """Begins the call's time, of which there are so many seconds; None: as many as it takes."""
        super().__init__(home, number)
        self.initial: Pairs = ()
        """Metadata that came before the first message."""
        self._home = home
        self.begun = False
        """Whether the server has begun its answer."""
        self._finished = False
        self._outcome: Outcome | None = None
        self._timer: asyncio.TimerHandle | None = None
        if seconds is not None:
            self._timer = self._loop.call_later(min(seconds, _LONGEST_SECONDS), self._expire)

    @property
    def trailing(self) -> Pairs:
        """Metadata that the call ended with; none before it has."""
        return self._outcome.trailing if self._outcome is not None else ()

    def ask(self, message: bytes) -> None:
        """Sends the only message of this side, as the server takes it."""
        if self._can_send(message):
            self.send(message)
            self.done_writing()

    async def write(self, message: bytes) -> None:
        """Sends a message; returns when the server's windows and the transport have taken it.

        Raises:
            InternalError: the call has ended. How, tells `read`.
        """
        if self._can_send(message):
            self.send(message)
            if self._pending:
                await self.drained()
            else:
                await self.take_turn()
        if self.gone:
            raise _aio.InternalError("the call has ended")

    def done_writing(self) -> None:
        """Tells the server, behind all messages, that no more come."""
        if not self.gone:
            self.behind(self._finish)

    async def read(self) -> bytes | None:
        """Returns the next message; None at their end, where all is well.

        Raises:
            AioRpcError: the call has failed.
        """
        try:
            message = await self.next_message()
        except (BadMessage, MessageTooLarge) as error:
            self.refuse(error)
            raise self._error() from None
        if message is None and (self._outcome is None or self._outcome.code is not StatusCode.OK):
            raise self._error()
        return message

    async def answer(self) -> bytes | None:
        """Returns the only message of a call that is no stream; None where it ended well without one.

        Raises:
            AioRpcError: the call has failed, or has more messages.
        """
        message = await self.read()
        if message is not None and await self.read() is not None:
            self.refuse(BadMessage("The answer has more than one message."))
            raise self._error()
        return message

    def cancel(self) -> None:
        """Gives the call up. Without effect if it has ended."""
        self._end(Outcome(StatusCode.CANCELLED, "The call was given up."), ErrorCode.CANCEL)

    def __enter__(self) -> "ClientCall":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    # What its connection uses.

    def take_headers(self, headers: list[Header], ended: bool) -> None:
        """Takes the headers before the messages, or those behind them."""
        if header_bytes(headers) > HEADER_LIST_BYTES:
            text = f"The metadata are larger than {HEADER_LIST_BYTES} bytes."
            self._end(Outcome(StatusCode.RESOURCE_EXHAUSTED, text), ErrorCode.CANCEL)
            return
        try:
            pseudo, others = split(headers)
            if self.begun:
                self._take_trailers(pseudo, others, ended)
            else:
                self._take_first(pseudo, others, ended)
        except Malformed as error:
            text = f"The answer is malformed: {error}."
            self._end(Outcome(StatusCode.INTERNAL, text), ErrorCode.PROTOCOL_ERROR)

    def receive(self, data: bytes, size: int) -> None:
        """See Stream."""
        if not self.begun:
            raise BadMessage("Data came before headers.")
        super().receive(data, size)

    def end_by_peer(self) -> None:
        """See Stream. Headers would have ended it well."""
        self._end(Outcome(StatusCode.UNKNOWN, "The call ended without a status."), self._close_code())

    def refuse(self, error: Exception) -> None:
        """Takes that what came is no message, or too large, which may be found when the call has ended."""
        full = isinstance(error, MessageTooLarge)
        found = Outcome(StatusCode.RESOURCE_EXHAUSTED if full else StatusCode.INTERNAL, str(error))
        self._end(found, ErrorCode.CANCEL)
        self._outcome = found

    def reset_by_peer(self, code: int) -> None:
        """Takes that the server has reset the stream."""
        late = self._timer is not None and self._timer.when() <= self._loop.time()
        self._end(_TOO_LATE if late and code == ErrorCode.CANCEL else outcome.reset(code), None)

    def lose(self, why: str) -> None:
        """Takes that the server will not answer, or that the connection is no more."""
        self._end(Outcome(StatusCode.UNAVAILABLE, why), None)

    def _take_first(self, pseudo: dict[bytes, bytes], others: list[Header], ended: bool) -> None:
        status = pseudo.get(b":status", b"")
        if len(pseudo) != 1 or not _HTTP_STATUS.fullmatch(status):
            raise Malformed("it has no HTTP status")
        if status.startswith(b"1"):
            if ended:
                raise Malformed("it ends before it begins")
            return
        told = dict(others)
        if ended or status != b"200" or not told.get(b"content-type", b"").startswith(b"application/grpc"):
            found = outcome.told(status, others)
            self._end(found, self._close_code() if ended else ErrorCode.CANCEL)
            return
        self.initial = received(others)
        self.encoding = told.get(b"grpc-encoding", b"identity")
        self.begun = True

    def _take_trailers(self, pseudo: dict[bytes, bytes], others: Iterable[Header], ended: bool) -> None:
        if pseudo or not ended:
            raise Malformed("headers stand in the middle of a stream")
        found = outcome.told(b"200", others)
        if self.unfinished and found.code is StatusCode.OK:
            found = Outcome(StatusCode.INTERNAL, "The stream ended in the middle of a message.")
        self._end(found, self._close_code())

    def _close_code(self) -> ErrorCode | None:
        """Returns what to reset a stream with that the server has ended."""
        return None if self._finished else ErrorCode.NO_ERROR

    def _can_send(self, message: bytes) -> bool:
        if len(message) > self._limit:
            text = f"Sent message larger than max ({len(message)} vs. {self._limit})."
            self._end(Outcome(StatusCode.RESOURCE_EXHAUSTED, text), ErrorCode.CANCEL)
        return not self.gone

    def _finish(self) -> None:
        self._finished = True
        self._output.put(frame(DATA, END_STREAM, self.number))

    def _expire(self) -> None:
        self._end(_TOO_LATE, ErrorCode.CANCEL)

    def _end(self, found: Outcome, code: ErrorCode | None) -> None:
        """Ends the call, and tells the server by a reset if there is a code for it."""
        if self._outcome is not None:
            return
        self._outcome = found
        if self._timer is not None:
            self._timer.cancel()
        if code is not None:
            self.reset(code)
        self.ended_by_peer = True
        self.let_go()
        self._home.forget(self)

    # Made anew each time: one that is kept would keep by its traceback the frames, and what they hold, that it passed.
    def _error(self) -> grpc.aio.AioRpcError:
        found = self._outcome or Outcome(StatusCode.INTERNAL, "The call has no end.")
        return found.error(self.initial)
