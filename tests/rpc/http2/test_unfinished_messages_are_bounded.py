"""Messages that never become whole fill no memory, and whoever sends most of them is the one that is refused."""

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import frame, header_frames
from tests.rpc.http2.wire import Wire, wire
from tests.rpc.peer import peer
from tests.waiting import until

MOST = 60_000
LARGE = 65_536
FULL = "8"


def begin(there: Wire, number: int, size: int, whole: int = LARGE) -> None:
    """Sends `size` bytes of a message of `whole`, its prefix among them."""
    there.send(header_frames(number, there.block(), 0, 16_384))
    there.send(frame(frames.DATA, 0, number, b"\0" + whole.to_bytes(4) + bytes(size - 5)))


async def test_the_largest_goes_of_who_sent_most() -> None:
    async with peer() as there, wire(there.server.port) as greedy, wire(there.server.port) as modest:
        server = there.server.grpc
        server.most_unfinished_bytes = MOST
        greedy.greet()
        modest.greet()
        for number, size in enumerate((15_000, 16_000, 10_000)):
            begin(greedy, 2 * number + 1, size)
        await until(lambda: server.unfinished == 41_000)
        begin(modest, 1, 16_000, whole=30_000)
        modest.send(frame(frames.DATA, 0, 1, bytes(10_000)))
        assert (await greedy.trailers(3))["grpc-status"] == FULL
        modest.send(frame(frames.DATA, frames.END_STREAM, 1, bytes(4_005)))
        assert (await modest.trailers(1))["grpc-status"] != FULL
        assert server.unfinished == 25_000


async def test_as_many_go_as_have_to() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        server = there.server.grpc
        caller.greet()
        for number in (1, 3, 5, 7):
            begin(caller, number, 15_000)
        await until(lambda: server.unfinished == 60_000)
        server.most_unfinished_bytes = 20_000
        begin(caller, 9, 10_000)
        for number in (1, 3, 5, 7):
            assert (await caller.trailers(number))["grpc-status"] == FULL
        assert server.unfinished == 10_000


async def test_what_is_whole_or_given_up_does_not_count() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        server = there.server.grpc
        server.most_unfinished_bytes = MOST
        caller.greet()
        for number in range(1, 41, 4):
            begin(caller, number, 16_000)
            caller.send(frames.reset_frame(number, 8))
            begin(caller, number + 2, 16_000, whole=20_000)
            caller.send(frame(frames.DATA, frames.END_STREAM, number + 2, bytes(4_005)))
            assert (await caller.trailers(number + 2))["grpc-status"] != FULL
        begin(caller, 41, 16_000)
        await until(lambda: server.unfinished == 16_000)
    await until(lambda: server.unfinished == 0)
