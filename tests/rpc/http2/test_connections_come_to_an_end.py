import asyncio

import grpc
import pytest

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import ErrorCode, frame, header_frames
from tests.rpc.http2.test_one_call_that_cannot_be_answered import changed
from tests.rpc.http2.wire import wire
from tests.rpc.peer import STREAM, peer
from tests.waiting import until

NOTHING = bytes(5)


def last_and_code(payload: bytes) -> tuple[int, int]:
    return int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])


async def test_what_was_on_its_way_is_answered_and_what_comes_later_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.server_connection._DRAIN_SECONDS", 3600)
    gate = asyncio.Event()
    async with peer(max_connection_age_seconds=0.05) as there, wire(there.server.port) as caller:
        there.text.behaviour = gate.wait
        caller.greet()
        caller.send(header_frames(1, caller.block(changed(path=STREAM)), 0, 16_384))
        caller.send(frame(frames.DATA, frames.END_STREAM, 1, NOTHING))
        assert last_and_code((await caller.until(frames.GOAWAY))[1]) == (2**31 - 1, 0)
        _, ping = await caller.until(frames.PING)
        caller.send(header_frames(3, caller.block(changed(path="/nobody/Nothing")), frames.END_STREAM, 16_384))
        assert (await caller.trailers(3))["grpc-status"] == "12"
        caller.send(frame(frames.PING, frames.ACK, 0, ping))
        assert last_and_code((await caller.until(frames.GOAWAY))[1]) == (3, 0)
        caller.call(5)
        assert (await caller.until(frames.RST_STREAM, 5))[1] == ErrorCode.REFUSED_STREAM.to_bytes(4)
        gate.set()
        assert (await caller.trailers(1))["grpc-status"] == "0"
        assert await caller.farewell() == ErrorCode.NO_ERROR


async def test_who_does_not_answer_a_farewell_is_refused_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.rpc.http2.server_connection._DRAIN_SECONDS", 0.05)
    async with peer(max_connection_age_seconds=0.05) as there, wire(there.server.port) as caller:
        caller.greet()
        assert await caller.farewell() == ErrorCode.NO_ERROR


async def test_a_lost_connection_cancels_its_calls() -> None:
    async with peer() as there:
        there.text.behaviour = asyncio.Event().wait
        async with wire(there.server.port) as caller:
            caller.greet()
            caller.send(header_frames(1, caller.block(changed(path=STREAM)), 0, 16_384))
            caller.send(frame(frames.DATA, frames.END_STREAM, 1, NOTHING))
            await caller.until(frames.DATA, 1)
        await until(lambda: there.record.ended == [(STREAM, grpc.StatusCode.CANCELLED)])
        assert there.text.closed == 1


async def test_a_deadline_ends_a_call_whose_caller_does_not() -> None:
    async with peer() as there, wire(there.server.port) as caller:
        there.text.behaviour = asyncio.Event().wait
        caller.greet()
        headers, number = [*changed(path=STREAM), ("grpc-timeout", "50m")], -1
        while not there.record.began:  # retried: on a slow machine the time may be over before the call is begun
            number += 2
            caller.send(header_frames(number, caller.block(headers), 0, 16_384))
            caller.send(frame(frames.DATA, frames.END_STREAM, number, NOTHING))
            assert (await caller.trailers(number))["grpc-status"] == "4"
        await until(lambda: there.record.ended == [(STREAM, grpc.StatusCode.DEADLINE_EXCEEDED)])
