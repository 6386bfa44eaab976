import asyncio
import tracemalloc
from itertools import islice
from typing import Any

import pytest
from grpc import StatusCode

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import frame, header_frames, prefixed, settings_frame, window_frame
from sensorium.rpc.http2.output import Output
from sensorium.rpc.http2.stream import WINDOW
from sensorium.v1.common_pb2 import GenerationDelta
from sensorium.v1.text_pb2 import StreamGenerateResponse
from tests.rpc.http2.test_one_call_that_cannot_be_answered import changed
from tests.rpc.http2.wire import Wire, wire
from tests.rpc.peer import COLLECT, EXCHANGE, STREAM, ended, peer
from tests.waiting import until

BODY = b"0123456789" * 5


def collect(there: Wire, number: int, body: bytes) -> None:
    """Asks for what is answered with `body`."""
    there.send(header_frames(number, there.block(changed(path=COLLECT)), 0, 16_384))
    message = prefixed(body)
    for start in range(0, len(message), frames.FRAME_BYTES):
        there.send(frame(frames.DATA, 0, number, message[start : start + frames.FRAME_BYTES]))
    there.send(frame(frames.DATA, frames.END_STREAM, number))


async def test_a_message_leaves_as_far_as_the_stream_s_window_goes_and_others_pass_it() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet(initial_window_size=10)
        collect(caller, 1, BODY)
        assert (await caller.until(frames.DATA, 1))[1] == prefixed(BODY)[:10]
        # By a setting, windows can shrink to less than nothing.
        caller.send(settings_frame({frames.INITIAL_WINDOW_SIZE: 5}), window_frame(1, 5))
        collect(caller, 3, b"")
        assert (await caller.until(frames.DATA))[1] == prefixed(b"")
        caller.send(window_frame(1, 4))
        assert (await caller.until(frames.DATA, 1))[1] == prefixed(BODY)[10:14]
        caller.send(settings_frame({frames.INITIAL_WINDOW_SIZE: 1000}))
        assert (await caller.until(frames.DATA, 1))[1] == prefixed(BODY)[14:]
        assert (await caller.trailers(1))["grpc-status"] == "0"


async def test_what_a_setting_lets_go_leaves_behind_the_answer_to_it() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet(initial_window_size=0)
        collect(caller, 1, BODY)
        await caller.until(frames.HEADERS, 1)
        # A peer takes its windows for as narrow as before until it reads the answer.
        caller.send(settings_frame({frames.INITIAL_WINDOW_SIZE: 1000}))
        came = await caller.frame()
        assert came is not None
        assert came[:2] == (frames.SETTINGS, frames.ACK)
        assert (await caller.until(frames.DATA, 1))[1] == prefixed(BODY)


async def test_streams_share_the_window_of_their_connection() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet(initial_window_size=10**6)
        for number in (1, 3):
            collect(caller, number, bytes(60_000))
        left = {1: 60_005, 3: 60_005}
        for allowed in (frames.FIRST_WINDOW, 30_000, 30_000):
            while allowed and sum(left.values()):
                came = await caller.frame()
                assert came is not None
                kind, _, number, payload = came
                if kind == frames.HEADERS:
                    caller.headers(payload)
                if kind == frames.DATA:
                    left[number] -= len(payload)
                    allowed -= len(payload)
            assert allowed >= 0
            caller.send(window_frame(0, 30_000))
        assert left == {1: 0, 3: 0}


async def test_a_reader_that_takes_nothing_gets_the_status_behind_what_waits() -> None:
    async with peer(stalled_client_seconds=0.1) as there, wire(there.server.port) as caller:
        caller.greet(initial_window_size=3)
        caller.send(header_frames(1, caller.block(changed(path=STREAM)), 0, 16_384))
        caller.send(frame(frames.DATA, frames.END_STREAM, 1, prefixed(b"")))
        await until(lambda: bool(there.record.ended))
        caller.send(window_frame(1, 100))
        came = b""
        while len(came) < 5:
            came += (await caller.until(frames.DATA, 1))[1]
        assert (await caller.trailers(1))["grpc-status"] == "8"


async def test_what_is_offered_leaves_at_once_or_not_at_all() -> None:
    message = StreamGenerateResponse(delta=GenerationDelta(text="ab"))  # eleven bytes
    contexts, taken = list[Any](), list[bool]()
    async with peer() as there, wire(there.server.port) as caller:

        async def offer() -> None:
            contexts.append(there.text.context)
            taken.extend(there.text.context.offer(message) for _ in range(2))

        there.text.behaviour = offer
        caller.greet(initial_window_size=5 + 11 + 10)
        caller.send(header_frames(1, caller.block(changed(path=STREAM)), 0, 16_384))
        caller.send(frame(frames.DATA, frames.END_STREAM, 1, prefixed(b"")))
        came = [(await caller.until(frames.DATA, 1))[1] for _ in range(3)]
        assert came == [prefixed(b""), prefixed(message.SerializeToString()), prefixed(b"")]
        assert (await caller.trailers(1))["grpc-status"] == "0"
        assert taken == [True, False]
        caller.send(window_frame(1, 100))
        assert not contexts[0].offer(message)  # the call has ended


async def test_what_is_too_large_to_be_sent_is_not_taken() -> None:
    taken: list[bool] = []
    async with peer(message_bytes=2**20) as there:

        async def offer() -> None:
            message = StreamGenerateResponse(delta=GenerationDelta(text="a" * 2**20))
            taken.append(there.text.context.offer(message))

        there.text.behaviour = offer
        assert await ended(there.call(STREAM)) == StatusCode.OK
    assert taken == [False]


async def test_what_a_handler_does_not_read_is_not_asked_for() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        there.text.behaviour = asyncio.Event().wait  # after its first message
        caller.greet()
        caller.send(header_frames(1, caller.block(changed(path=EXCHANGE)), 0, 16_384))
        message = frame(frames.DATA, 0, 1, prefixed(bytes(10_000)))
        for _ in range(WINDOW // 10_005):
            caller.send(message)
        caller.send(frame(frames.PING, 0, 0, bytes(8)))
        while (came := await caller.frame()) is not None and came[0] != frames.PING:
            assert came[:3] != (frames.WINDOW_UPDATE, 0, 1)


SMALL = [frame(frames.DATA, 0, 1, prefixed(b"x") * 2700)] * 16


@pytest.mark.parametrize("method", [STREAM, EXCHANGE])
async def test_messages_that_are_not_read_take_little_more_than_they_took_to_send(method: str) -> None:
    async with peer() as there, wire(there.server.port) as caller:
        there.text.behaviour = asyncio.Event().wait  # behind the first message, which is all that STREAM may have
        caller.greet()
        caller.send(header_frames(1, caller.block(changed(path=method)), 0, 16_384))
        caller.send(frame(frames.DATA, 0, 1, prefixed(b"")))
        await caller.until(frames.DATA, 1)
        tracemalloc.start()
        try:
            caller.send(*SMALL, frame(frames.PING, 0, 0, bytes(8)))
            await caller.until(frames.PING)
            assert tracemalloc.get_traced_memory()[0] < 10**6
        finally:
            tracemalloc.stop()


async def test_small_messages_that_wait_are_all_read_in_their_order() -> None:
    messages = [b"%d," % number for number in range(20_000)]
    stream = b"".join(map(prefixed, messages))
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet(initial_window_size=2**20)
        caller.send(window_frame(0, 2**20), header_frames(1, caller.block(changed(path=COLLECT)), 0, 16_384))
        for start in range(0, len(stream), 1000):
            caller.send(frame(frames.DATA, 0, 1, stream[start : start + 1000]))
        caller.send(frame(frames.DATA, frames.END_STREAM, 1))
        wanted, came = prefixed(b"".join(messages)), b""
        while len(came) < len(wanted):
            came += (await caller.until(frames.DATA, 1))[1]
        assert came == wanted


async def test_what_is_no_message_behind_many_that_wait_ends_the_call() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        caller.send(header_frames(1, caller.block(changed(path=COLLECT)), 0, 16_384))
        caller.send(
            frame(frames.DATA, 0, 1, prefixed(b"") * 100), frame(frames.DATA, frames.END_STREAM, 1, b"\2" * 100)
        )
        assert (await caller.trailers(1))["grpc-status"] == "13"
        assert there.server.grpc.unfinished == 0


async def test_answers_that_are_not_taken_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.connection._UNTAKEN_BYTES", 300_000)
    monkeypatch.setattr("sensorium.rpc.http2.connection._CLOSE_SECONDS", 0.1)
    async with peer() as there, wire(there.server.port) as caller:
        caller.greet()
        await caller.until(frames.SETTINGS)
        calls = iter(range(1, 2**20, 2))
        refused = changed(path="/no/such" + "x" * 200)

        def ended() -> bool:
            for number in islice(calls, 200):
                caller.send(header_frames(number, caller.block(refused), frames.END_STREAM, 16_384))
            return not there.server.grpc._connections

        await until(ended)


class Kept(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False


async def test_what_is_made_in_one_turn_leaves_in_one_write() -> None:
    output = Output(asyncio.get_running_loop())
    output.transport = kept = Kept()
    for piece in (b"a", b"b", b"c"):
        output.put(piece)
    assert kept.writes == []
    await asyncio.sleep(0)
    assert kept.writes == [b"abc"]
    # So much that nobody should hold it back.
    output.put(bytes(300_000))
    output.put(b"d")
    assert len(kept.writes) == 2


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 200_000, 3_000_000])
async def test_messages_of_all_sizes_come_back(size: int) -> None:
    async with peer() as there:
        body = bytes(size)
        assert await there.call(COLLECT, body) == body
