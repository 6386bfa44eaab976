import asyncio
import gzip

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.client_call import ClientCall
from sensorium.rpc.http2.frames import frame, header_frames, prefixed
from sensorium.rpc.http2.stream import WINDOW
from tests.rpc.http2.endpoint import ANSWER, Endpoint, endpoint
from tests.rpc.http2.wire import Wire
from tests.waiting import until


class Taker:
    """Takes so many messages."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[bytes] = []

    def __call__(self, message: bytes) -> bool:
        if len(self.taken) == self.most:
            return False
        self.taken.append(message)
        return True


async def begun(there: Endpoint, taker: Taker) -> tuple[Wire, ClientCall]:
    wire, call = await there.called()
    call.pass_to(taker)
    wire.send(header_frames(1, wire.block([*ANSWER, ("grpc-encoding", "gzip")]), 0, 16_384))
    await until(lambda: call.begun)
    return wire, call


def numbered(*numbers: int) -> bytes:
    """Returns a frame of messages."""
    return frame(frames.DATA, 0, 1, b"".join(prefixed(bytes([number])) for number in numbers))


async def test_while_their_reader_waits_and_as_long_as_they_are_taken() -> None:
    async with endpoint() as there:
        taker = Taker(4)
        wire, call = await begun(there, taker)
        wire.send(numbered(1, 2))
        await until(lambda: len(call._messages) == 2)  # nobody waits for them
        assert [await call.read(), await call.read()] == [b"\1", b"\2"]
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0)
        wire.send(numbered(3, 4), numbered(5)[:12])
        await until(lambda: len(taker.taken) == 2)
        assert not reading.done()
        wire.send(numbered(5)[12:], numbered(6, 7, 8))
        assert await reading == b"\7"
        assert taker.taken == [b"\3", b"\4", b"\5", b"\6"]
        assert await call.read() == b"\x08"


async def test_what_is_compressed_is_the_reader_s() -> None:
    async with endpoint() as there:
        taker, small = Taker(9), gzip.compress(b"x")
        wire, call = await begun(there, taker)
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0)
        wire.send(frame(frames.DATA, 0, 1, b"\1" + len(small).to_bytes(4) + small))
        assert await reading == b"x"
        assert taker.taken == []


async def test_who_has_stopped_waiting_is_passed_by_no_longer() -> None:
    async with endpoint() as there:
        taker = Taker(9)
        wire, call = await begun(there, taker)
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0)
        reading.cancel()
        wire.send(numbered(1))
        await until(lambda: len(call._messages) == 1)
        assert await call.read() == b"\1"
        assert taker.taken == []


async def test_what_was_taken_makes_room_for_more() -> None:
    async with endpoint() as there:
        taker = Taker(1000)
        wire, call = await begun(there, taker)
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0)
        message = frame(frames.DATA, 0, 1, prefixed(bytes(10_000)))
        wire.send(*[message] * (WINDOW // 20_000 + 1))
        await wire.until(frames.WINDOW_UPDATE, 1)
        reading.cancel()
