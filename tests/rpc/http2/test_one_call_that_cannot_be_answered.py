"""What ends a call, and leaves the others of its connection alone."""

import base64
import gzip
import zlib

import pytest
from grpc import StatusCode

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import ErrorCode, frame, header_frames, prefixed
from tests.rpc.http2.wire import REQUEST, Wire, wire
from tests.rpc.peer import COLLECT, STREAM, UNARY, peer

LIMIT = 100_000


def changed(**headers: str) -> list[tuple[str, str]]:
    new = {key.replace("_", "-"): value for key, value in headers.items()}
    return [(key, new.get(key.lstrip(":"), value)) for key, value in REQUEST]


async def is_served(there: Wire, number: int) -> bool:
    there.call(number)
    return (await there.trailers(number))["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (changed(method="GET"), {":status": "405"}),
        (changed(content_type="text/plain"), {":status": "415"}),
        (changed(path="/nobody/Nothing"), {"grpc-status": "12"}),
        ([*REQUEST, ("grpc-encoding", "br")], {"grpc-status": "12"}),
        ([*REQUEST, ("x", "y" * 17_000)], {"grpc-status": "8"}),
        ([*REQUEST, ("grpc-timeout", "0m")], {"grpc-status": "4"}),
    ],
)
async def test_a_status_says_why(headers: list[tuple[str, str]], status: dict[str, str]) -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        caller.send(header_frames(1, caller.block(headers), 0, 16_384))
        assert status.items() <= (await caller.trailers(1)).items()
        # The caller may stop sending, and is told so.
        assert (await caller.until(frames.RST_STREAM, 1))[1] == bytes(4)
        assert await is_served(caller, 3)


@pytest.mark.parametrize(
    "headers",
    [
        REQUEST[1:],
        [*REQUEST, (":status", "200")],
        [("te", "trailers"), *REQUEST],
        [*REQUEST[:1], *REQUEST],
        [*REQUEST, ("Upper", "x")],
        [*REQUEST, ("connection", "close")],
        [*REQUEST, ("x", "line\nbreak")],
        [*REQUEST, ("x-bin", "not base64!")],
        [*REQUEST, ("grpc-timeout", "soon")],
    ],
)
async def test_headers_that_are_not_allowed_reset_the_stream(headers: list[tuple[str, str]]) -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        caller.send(header_frames(1, caller.block(headers), frames.END_STREAM, 16_384))
        assert (await caller.until(frames.RST_STREAM, 1))[1] == ErrorCode.PROTOCOL_ERROR.to_bytes(4)
        assert await is_served(caller, 3)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"\1" + len(gzip.compress(b"x")).to_bytes(4) + gzip.compress(b"x"), "gzip", "0"),
        (b"\1" + len(zlib.compress(b"x")).to_bytes(4) + zlib.compress(b"x"), "deflate", "0"),
        (prefixed(b"x"), "gzip", "0"),
        (b"\1\0\0\0\1x", "gzip", "13"),
        (b"\1" + (9).to_bytes(4) + gzip.compress(b"x" * 50)[:9], "gzip", "13"),
        (b"\1\0\0\0\1x", "identity", "13"),
        (b"\1" + len(bomb := gzip.compress(bytes(10**7))).to_bytes(4) + bomb, "gzip", "8"),
        (prefixed(bytes(LIMIT + 1))[:9], "identity", "8"),
        (b"\2\0\0\0\1x", "identity", "13"),
        (b"\0\0\0\0\2x", "identity", "13"),
    ],
)
async def test_a_message_is_read_or_refused(body: bytes, encoding: str, status: str) -> None:
    async with peer(message_bytes=LIMIT) as there, wire(there.server.port) as caller:
        caller.greet()
        for number, method in ((1, UNARY), (3, COLLECT)):
            headers = [*changed(path=method), ("grpc-encoding", encoding)]
            caller.send(header_frames(number, caller.block(headers), 0, 16_384))
            caller.send(frame(frames.DATA, frames.END_STREAM, number, body))
            assert (await caller.trailers(number))["grpc-status"] in (status, "3")  # "x" is no request
        assert await is_served(caller, 5)


async def test_a_call_without_its_message_is_told_what_is_wrong() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        for number, method in ((1, UNARY), (3, STREAM)):
            headers = changed(path=method)
            caller.send(header_frames(number, caller.block(headers), frames.END_STREAM, 16_384))
            trailers = await caller.trailers(number)
            assert trailers["grpc-status"] == "3"
            details = base64.b64decode(trailers["grpc-status-details-bin"] + "==")
            assert b"The call ended before its message came." in details
            assert b"INVALID_REQUEST" in details
        assert [code for _, code in there.record.ended] == [StatusCode.INVALID_ARGUMENT] * 2
        assert await is_served(caller, 5)


async def test_a_message_comes_in_any_pieces_padded_or_not() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        caller.send(header_frames(1, caller.block(changed(path=COLLECT)), 0, 16_384))
        for byte in prefixed(b"one") + prefixed(b"") + prefixed(b"two"):
            caller.send(frame(frames.DATA, frames.PADDED, 1, bytes((2, byte, 0, 0))))
        caller.send(frame(frames.DATA, frames.END_STREAM, 1))
        assert (await caller.until(frames.DATA, 1))[1] == prefixed(b"onetwo")


async def test_headers_come_in_pieces_and_with_a_priority() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        block = bytes(5) + caller.block(x="y" * 100)
        caller.send(
            frame(frames.HEADERS, frames.END_STREAM | frames.PRIORITIZED, 1, block[:20]),
            frame(frames.CONTINUATION, 0, 1, block[20:30]),
            frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[30:]),
        )
        assert (await caller.trailers(1))["grpc-status"] == "3"  # it has no message
        assert await is_served(caller, 3)


async def test_more_calls_than_allowed_are_refused_and_may_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.server_connection.MAX_CONCURRENT_STREAMS", 2)
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        for number in (1, 3, 5):
            caller.send(header_frames(number, caller.block(), 0, 16_384))
        assert (await caller.until(frames.RST_STREAM, 5))[1] == ErrorCode.REFUSED_STREAM.to_bytes(4)
        caller.send(frames.reset_frame(1, ErrorCode.CANCEL), frame(frames.PING, 0, 0, bytes(8)))
        await caller.until(frames.PING)
        assert await is_served(caller, 7)
