"""What a server sends for an answer, and what its caller makes of it. The other calls of the connection go on."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import grpc
import pytest
from grpc import StatusCode

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.client_call import ClientCall
from sensorium.rpc.http2.frames import ErrorCode, frame, header_frames, prefixed, reset_frame
from sensorium.rpc.http2.metadata import seconds_of, timeout_of
from tests.rpc.http2.endpoint import ANSWER, LIMIT, METHOD, answer, endpoint
from tests.rpc.http2.wire import Wire

Answer = Callable[[Wire], None]
END = frames.END_STREAM
FAILED = StatusCode.INTERNAL
WELL = [("grpc-status", "0")]


def _headers(*pairs: tuple[str, str], flags: int = END) -> Answer:
    return lambda there: there.send(header_frames(1, there.block(pairs), flags, 16_384))


def _trailers(*pairs: tuple[str, str], data: bytes = b"") -> Answer:
    def send(there: Wire) -> None:
        there.send(header_frames(1, there.block(ANSWER), 0, 16_384), frame(frames.DATA, 0, 1, data))
        there.send(header_frames(1, there.block(pairs), END, 16_384))

    return send


def _compressed(encoding: str, message: bytes) -> Answer:
    def send(there: Wire) -> None:
        data = b"\1" + len(message).to_bytes(4) + message
        there.send(header_frames(1, there.block([*ANSWER, ("grpc-encoding", encoding)]), 0, 16_384))
        there.send(*(frame(frames.DATA, 0, 1, data[start : start + 9000]) for start in range(0, len(data), 9000)))
        there.send(header_frames(1, there.block(WELL), END, 16_384))

    return send


def _reset(code: int) -> Answer:
    return lambda there: there.send(reset_frame(1, code))


ANSWERS: dict[str, tuple[StatusCode, Answer]] = {
    "a status alone": (StatusCode.NOT_FOUND, _headers(*ANSWER, ("grpc-status", "5"))),
    "a status behind a message": (StatusCode.ABORTED, _trailers(("grpc-status", "10"), data=prefixed(b"x"))),
    "no number": (StatusCode.UNKNOWN, _trailers(("grpc-status", "well"))),
    "a number of no status": (StatusCode.UNKNOWN, _trailers(("grpc-status", "99"))),
    "no status": (StatusCode.UNKNOWN, _trailers(("x", "y"))),
    "no trailers": (StatusCode.UNKNOWN, lambda there: there.send(
        header_frames(1, there.block(ANSWER), 0, 16_384), frame(frames.DATA, END, 1, prefixed(b"x"))
    )),
    "HTTP 400": (StatusCode.INTERNAL, _headers((":status", "400"))),
    "HTTP 401": (StatusCode.UNAUTHENTICATED, _headers((":status", "401"))),
    "HTTP 403": (StatusCode.PERMISSION_DENIED, _headers((":status", "403"))),
    "HTTP 404 and its page": (StatusCode.UNIMPLEMENTED, _headers((":status", "404"), flags=0)),
    "HTTP 413 of a proxy": (StatusCode.RESOURCE_EXHAUSTED, _headers((":status", "413"), ("content-type", "text/html"))),
    "HTTP 431": (StatusCode.RESOURCE_EXHAUSTED, _headers((":status", "431"))),
    "HTTP 429": (StatusCode.UNAVAILABLE, _headers((":status", "429"))),
    "HTTP 503 of a proxy": (StatusCode.UNAVAILABLE, _headers((":status", "503"), ("content-type", "text/html"))),
    "HTTP 500": (StatusCode.UNKNOWN, _headers((":status", "500"))),
    "HTTP 500 that knows gRPC": (StatusCode.DATA_LOSS, _headers((":status", "500"), ("grpc-status", "15"))),
    "a page": (StatusCode.UNKNOWN, _headers((":status", "200"), ("content-type", "text/html"), flags=0)),
    "no HTTP status": (FAILED, _headers(("content-type", "application/grpc"))),
    "a bad HTTP status": (FAILED, _headers((":status", "2"))),
    "a request": (FAILED, _headers((":path", "/"), *ANSWER, *WELL)),
    "an end before the beginning": (FAILED, _headers((":status", "100"))),
    "headers that HTTP forbids": (FAILED, _headers(*ANSWER, ("connection", "close"), flags=0)),
    "headers twice": (FAILED, lambda there: there.send(
        header_frames(1, there.block(ANSWER), 0, 16_384), header_frames(1, there.block(WELL), 0, 16_384)
    )),
    "pseudo-headers for trailers": (FAILED, _trailers((":status", "200"), *WELL)),
    "metadata that are not in base64": (FAILED, _headers(*ANSWER, ("x-bin", "not base64!"), flags=0)),
    "trailers that are not in base64": (FAILED, _trailers(*WELL, ("x-bin", "not base64!"))),
    "long metadata": (StatusCode.RESOURCE_EXHAUSTED, _headers(*ANSWER, ("x", "y" * 17_000), flags=0)),
    "long trailers": (StatusCode.RESOURCE_EXHAUSTED, _trailers(*WELL, ("x", "y" * 17_000))),
    "data before headers": (FAILED, lambda there: there.send(frame(frames.DATA, 0, 1, prefixed(b"x")))),
    "half a message": (FAILED, _trailers(*WELL, data=b"\0\0\0\0\2x")),
    "no message": (FAILED, _trailers(*WELL, data=b"\2\0\0\0\1x")),
    "a large message": (StatusCode.RESOURCE_EXHAUSTED, _trailers(*WELL, data=prefixed(bytes(LIMIT + 1))[:9])),
    "a bomb": (StatusCode.RESOURCE_EXHAUSTED, _compressed("gzip", gzip.compress(bytes(10**7)))),
    "nothing compressed": (FAILED, _compressed("gzip", b"x" * 9)),
    "compressed in no known way": (FAILED, _compressed("br", gzip.compress(b"x"))),
    "gzip": (StatusCode.OK, _compressed("gzip", gzip.compress(b"x"))),
    "much of it": (StatusCode.OK, _compressed("gzip", gzip.compress(bytes(range(256)) * 200, 0))),
    "deflate": (StatusCode.OK, _compressed("deflate", zlib.compress(b"x"))),
    "a reset that is none": (FAILED, _reset(ErrorCode.NO_ERROR)),
    "a reset for a fault": (FAILED, _reset(ErrorCode.PROTOCOL_ERROR)),
    "refused": (StatusCode.UNAVAILABLE, _reset(ErrorCode.REFUSED_STREAM)),
    "cancelled": (StatusCode.CANCELLED, _reset(ErrorCode.CANCEL)),
    "called too often": (StatusCode.RESOURCE_EXHAUSTED, _reset(ErrorCode.ENHANCE_YOUR_CALM)),
    "insecure": (StatusCode.PERMISSION_DENIED, _reset(ErrorCode.INADEQUATE_SECURITY)),
    "reset for no known reason": (FAILED, _reset(77)),
}  # fmt: skip


async def ended(call: ClientCall) -> StatusCode:
    """Returns the code of a call that is read to its end."""
    try:
        while await call.read() is not None:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


@pytest.mark.parametrize("name", ANSWERS)
async def test_by_what_came(name: str) -> None:
    code, send = ANSWERS[name]
    async with endpoint() as there:
        wire, call = await there.called()
        send(wire)
        assert await ended(call) is code
        await there.serves(wire)


async def test_what_was_asked_is_what_was_meant() -> None:
    async with endpoint() as there:
        opening = asyncio.ensure_future(there.channel.open(METHOD, (("x-request-id", "r"), ("own-bin", b"\0\1")), 7.5))
        wire = await there.taken()
        call = await opening
        call.ask(b"question")
        assert await wire.asked() == 1
        assert {
            **{":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": f"127.0.0.1:{there.port}"},
            **{"te": "trailers", "content-type": "application/grpc", "x-request-id": "r", "own-bin": "AAE"},
        }.items() <= wire.request.items()
        assert 0 < seconds_of(wire.request["grpc-timeout"].encode()) <= 7.5
        assert (await wire.until(frames.DATA))[1] == prefixed(b"question")
        assert await wire.until(frames.DATA) == (END, b"")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, b"1u"), (1.5, b"1500000u"), (3600, b"3600000m"), (10**6, b"1000000S"), (1e12, b"9" * 8 + b"S")],
)
def test_times_are_told_as_finely_as_there_is_room(seconds: float, told: bytes) -> None:
    assert timeout_of(seconds) == told


async def test_all_that_came_with_a_failure_is_told() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        wire.send(header_frames(1, wire.block([*ANSWER, ("x-first", "a")]), 0, 16_384))
        wire.send(frame(frames.DATA, 0, 1, prefixed(b"one")))
        late = [("grpc-status", "14"), ("grpc-message", "gr%C3%B6%C3%9Fe %"), ("grpc-status-details-bin", "AAE")]
        wire.send(header_frames(1, wire.block(late), END, 16_384))
        assert await call.read() == b"one"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert (caught.value.code(), caught.value.details()) == (StatusCode.UNAVAILABLE, "größe %")
        assert tuple(caught.value.initial_metadata()) == (("x-first", "a"),)
        assert tuple(caught.value.trailing_metadata()) == (("grpc-status-details-bin", b"\0\1"),)


async def test_one_message_is_an_answer_and_two_are_not() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        answer(wire, 1)
        assert await call.answer() is None
        call = await there.channel.open(METHOD)
        answer(wire, 3, b"one")
        assert await call.answer() == b"one"
        call = await there.channel.open(METHOD)
        answer(wire, 5, b"one", b"two")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.answer()
        assert caught.value.code() is StatusCode.INTERNAL


async def test_what_comes_behind_the_end_changes_nothing() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        wire.send(header_frames(1, b"\x08\x03100", 0, 16_384))  # which may come before an answer, and says nothing
        answer(wire, 1, b"one", b"two")
        wire.send(reset_frame(1, ErrorCode.INTERNAL_ERROR))
        await there.serves(wire)
        assert [await call.read() for _ in range(3)] == [b"one", b"two", None]


async def test_a_message_comes_in_any_pieces_padded_or_not() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        wire.send(header_frames(1, wire.block(ANSWER), 0, 16_384))
        for byte in prefixed(b"one") + prefixed(b""):
            wire.send(frame(frames.DATA, frames.PADDED, 1, bytes((2, byte, 0, 0))))
        assert [await call.read(), await call.read()] == [b"one", b""]


async def test_who_is_answered_before_all_was_asked_stops() -> None:
    async with endpoint() as there:
        opening = asyncio.ensure_future(there.channel.open(METHOD))
        wire = await there.taken(initial_window_size=3)
        call = await opening
        call.ask(b"question")
        answer(wire, 1, status="8")
        assert await ended(call) is StatusCode.RESOURCE_EXHAUSTED
        assert (await wire.until(frames.RST_STREAM, 1))[1] == bytes(4)
        with pytest.raises(grpc.aio.InternalError):
            await call.write(b"more")
        await there.serves(wire)


async def test_what_is_too_large_is_not_sent() -> None:
    async with endpoint() as there:
        wire, call = await there.called(bytes(LIMIT + 1))
        assert await ended(call) is StatusCode.RESOURCE_EXHAUSTED
        await wire.until(frames.RST_STREAM, 1)
        await there.serves(wire)


async def test_who_gives_up_says_so_and_what_is_on_its_way_harms_nobody() -> None:
    async with endpoint() as there:
        wire, call = await there.called()
        with call:
            pass
        assert (await wire.until(frames.RST_STREAM, 1))[1] == ErrorCode.CANCEL.to_bytes(4)
        answer(wire, 1, b"late")
        assert await ended(call) is StatusCode.CANCELLED
        await there.serves(wire)


async def test_a_deadline_ends_a_call_whose_server_does_not() -> None:
    async with endpoint() as there:
        wire, _ = await there.called()
        call = await there.channel.open(METHOD, (), 0.2)
        assert await ended(call) is StatusCode.DEADLINE_EXCEEDED
        assert (await wire.until(frames.RST_STREAM, call.number))[1] == ErrorCode.CANCEL.to_bytes(4)
        await there.serves(wire)
