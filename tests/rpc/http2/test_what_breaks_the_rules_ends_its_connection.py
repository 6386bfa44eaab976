from collections.abc import Callable

import pytest
from grpc import StatusCode

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import ErrorCode, frame, header_frames, reset_frame, settings_frame, window_frame
from tests.rpc.http2.wire import REQUEST, Wire, wire
from tests.rpc.peer import EXCHANGE, UNARY, ended, peer

Attack = Callable[[Wire], None]
CALM = ErrorCode.ENHANCE_YOUR_CALM
_BYTES = [frame(frames.DATA, 0, 1, b"x")] * 5000
WRONG = ErrorCode.PROTOCOL_ERROR
SIZE = ErrorCode.FRAME_SIZE_ERROR
FLOW = ErrorCode.FLOW_CONTROL_ERROR


def _frames(*data: bytes) -> Attack:
    def attack(there: Wire) -> None:
        there.greet()
        there.send(*data)

    return attack


def _open(there: Wire, *behind: bytes, flags: int = 0) -> None:
    """Opens a stream of requests that nobody reads to its end."""
    exchange = [(key, EXCHANGE if key == ":path" else value) for key, value in REQUEST]
    there.greet()
    there.send(header_frames(1, there.block(exchange), flags, 16_384), *behind)


def _resets(there: Wire) -> None:
    there.greet()
    for number in range(1, 10_001, 2):
        there.send(header_frames(number, there.block(), 0, 16_384), reset_frame(number, ErrorCode.CANCEL))


def _late(there: Wire) -> None:
    """Goes on with a stream that was reset, since there is no such method."""
    there.greet()
    there.send(header_frames(1, there.block([*REQUEST[:2], (":path", "/no/such"), *REQUEST[3:]]), 0, 16_384))
    there.send(reset_frame(1, ErrorCode.CANCEL), *_BYTES)


def _bomb(there: Wire) -> None:
    there.greet()
    fill = there.block([*REQUEST, ("x", "y" * 3000)])
    # Each byte of it stands for the whole of what the table holds.
    there.send(header_frames(1, fill, frames.END_STREAM, 16_384), header_frames(3, b"\xbe" * 10_000, 1, 16_384))


def _many_headers(there: Wire) -> None:
    """Sends blocks that no call may not have, of a few bytes each and hundreds of headers."""
    there.greet()
    there.send(header_frames(1, there.block([*REQUEST, ("x", "y")]), frames.END_STREAM, 16_384))
    for number in range(3, 403, 2):
        there.send(header_frames(number, there.block() + b"\xbe" * 400, frames.END_STREAM, 16_384))


def _windows_of_many(there: Wire) -> None:
    there.greet()
    for number in range(1, 801, 2):
        there.send(header_frames(number, there.block(), 0, 16_384))
    there.send(*[settings_frame({frames.INITIAL_WINDOW_SIZE: 1000 + turn % 2}) for turn in range(400)])


def _continued(there: Wire) -> None:
    there.greet()
    there.send(frame(frames.HEADERS, 0, 1), *[frame(frames.CONTINUATION, 0, 1) for _ in range(100)])


ATTACKS: dict[str, tuple[ErrorCode, Attack]] = {
    "no preface": (WRONG, lambda there: there.send(b"GET / HTTP/1.1\r\n\r\n")),
    "no settings": (WRONG, lambda there: there.send(frames.PREFACE, frame(frames.PING, 0, 0, bytes(8)))),
    "large frame": (SIZE, _frames(frame(frames.DATA, 0, 1, bytes(16_385)))),
    "data of no stream": (WRONG, _frames(frame(frames.DATA, 0, 0, b"x"))),
    "data before headers": (WRONG, _frames(frame(frames.DATA, 0, 1, b"x"))),
    "data behind the end": (
        ErrorCode.STREAM_CLOSED,
        lambda there: _open(there, frame(frames.DATA, 0, 1, b"x"), flags=frames.END_STREAM),
    ),
    "headers behind the end": (WRONG, lambda there: _open(there, header_frames(1, b"", 1, 9), flags=1)),
    "headers of no stream": (WRONG, _frames(frame(frames.HEADERS, frames.END_HEADERS, 0))),
    "a server's stream": (WRONG, _frames(header_frames(2, b"", 0, 16_384))),
    "headers cut by data": (WRONG, _frames(frame(frames.HEADERS, 0, 1), frame(frames.DATA, 0, 1, b"x"))),
    "headers of another go on": (WRONG, _frames(frame(frames.HEADERS, 0, 1), frame(frames.CONTINUATION, 0, 3))),
    "headers go on from nothing": (WRONG, _frames(frame(frames.CONTINUATION, 0, 1))),
    "headers without sense": (ErrorCode.COMPRESSION_ERROR, _frames(header_frames(1, b"\xff" * 50, 0, 16_384))),
    "padding without end": (WRONG, lambda there: _open(there, frame(frames.DATA, frames.PADDED, 1, b"\x09x"))),
    "padding without length": (WRONG, lambda there: _open(there, frame(frames.DATA, frames.PADDED, 1))),
    "push": (WRONG, _frames(frame(frames.PUSH_PROMISE, 0, 1, bytes(4)))),
    "short ping": (SIZE, _frames(frame(frames.PING, 0, 0, b"x"))),
    "ping of a stream": (WRONG, _frames(frame(frames.PING, 0, 1, bytes(8)))),
    "short settings": (SIZE, _frames(frame(frames.SETTINGS, 0, 0, b"x"))),
    "settings of a stream": (WRONG, _frames(frame(frames.SETTINGS, 0, 1))),
    "settings' answer that speaks": (SIZE, _frames(frame(frames.SETTINGS, frames.ACK, 0, bytes(6)))),
    "small frames wanted": (WRONG, _frames(settings_frame({frames.MAX_FRAME_SIZE: 1}))),
    "large first window": (FLOW, _frames(settings_frame({frames.INITIAL_WINDOW_SIZE: 2**31}))),
    "window of nothing": (FLOW, _frames(window_frame(0, 0))),
    "window too large": (FLOW, _frames(window_frame(0, 2**31 - 1))),
    "window of no stream": (WRONG, _frames(window_frame(1, 5))),
    "short window": (SIZE, _frames(frame(frames.WINDOW_UPDATE, 0, 0, b"x"))),
    "reset of no stream": (WRONG, _frames(reset_frame(1, 0))),
    "short reset": (SIZE, _frames(frame(frames.RST_STREAM, 0, 1))),
    "short priority": (SIZE, _frames(frame(frames.PRIORITY, 0, 1))),
    "more than the window": (FLOW, lambda there: _open(there, *[frame(0, 0, 1, bytes(16_380))] * 17)),
    "pings": (CALM, _frames(*[frame(frames.PING, 0, 0, bytes(8))] * 5)),
    "empty settings": (CALM, _frames(*[frame(frames.SETTINGS, 0, 0)] * 5000)),
    "priorities": (CALM, _frames(*[frame(frames.PRIORITY, 0, 1, bytes(5))] * 5000)),
    "windows": (CALM, _frames(*[window_frame(0, 1)] * 5000)),
    "unknown frames": (CALM, _frames(*[frame(99, 0, 0)] * 5000)),
    "empty data": (CALM, lambda there: _open(there, *[frame(frames.DATA, 0, 1)] * 5000)),
    "padding alone": (CALM, lambda there: _open(there, *[frame(frames.DATA, frames.PADDED, 1, b"\1\0")] * 5000)),
    "single bytes": (CALM, lambda there: _open(there, *[frame(frames.DATA, 0, 1, bytes([0, 0, 1, 0, 0]))], *_BYTES)),
    "single bytes behind the end": (CALM, _late),
    "many settings in a frame": (CALM, _frames(frame(frames.SETTINGS, 0, 0, b"\0\4\0\0\0\0" * 2700))),
    "a table that is resized again and again": (
        ErrorCode.COMPRESSION_ERROR,
        _frames(header_frames(1, b"\x20" * 3, 0, 16_384)),
    ),
    "rapid resets": (CALM, _resets),
    "headers without end": (CALM, _continued),
    "headers that expand": (CALM, _bomb),
    "many headers": (CALM, _many_headers),
    "windows of many streams": (CALM, _windows_of_many),
}


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a slow machine takes for an attack, no more of it is allowed meanwhile."""
    monkeypatch.setattr("sensorium.rpc.http2.connection._IDLE_FRAMES_PER_SECOND", 0.0)
    monkeypatch.setattr("sensorium.rpc.http2.server_connection._RESETS_PER_SECOND", 0.0)


@pytest.mark.usefixtures("no_time_passes")
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_connection_ends_with_its_reason_and_a_neighbour_is_served(name: str) -> None:
    code, attack = ATTACKS[name]
    async with peer() as there:
        async with wire(there.server.port) as bad:
            attack(bad)
            assert await bad.farewell() == code
        assert await ended(there.call(UNARY)) is StatusCode.OK


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.heartbeat._GREETING_SECONDS", 0.05)
    async with peer() as there, wire(there.server.port) as bad:
        assert await bad.farewell() == -1


async def test_who_answers_no_ping_is_let_go_with_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_QUIET_SECONDS", "_ANSWER_SECONDS"):
        monkeypatch.setattr(f"sensorium.rpc.http2.heartbeat.{name}", 0.05)
    async with peer() as there, wire(there.server.port) as bad:
        _open(bad)
        await bad.until(frames.PING)
        assert await bad.farewell() == -1
        assert there.server.gate.inside == 0 or await _emptied(there)


async def test_pings_of_a_busy_connection_are_answered() -> None:
    async with peer() as there, wire(there.server.port) as busy:
        busy.greet()
        for number in range(1, 41, 2):
            busy.call(number)
            await busy.trailers(number)
            busy.send(frame(frames.PING, 0, 0, b"12345678"))
            assert await busy.until(frames.PING) == (frames.ACK, b"12345678")


async def _emptied(there) -> bool:
    await there.server.gate.empty.wait()
    return True
