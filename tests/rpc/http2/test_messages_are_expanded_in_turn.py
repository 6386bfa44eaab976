"""What expands to a thousand times its size takes one thread, and the messages of others have their turn."""

import gzip
import threading
import time

import pytest

from sensorium.rpc.http2 import frames, messages
from sensorium.rpc.http2.frames import frame, header_frames
from sensorium.v1.text_pb2 import TokenizeRequest
from tests.rpc.http2.wire import REQUEST, Wire, wire
from tests.rpc.peer import peer
from tests.waiting import until

LARGE = gzip.compress(TokenizeRequest(texts=["a" * 200_000]).SerializeToString())


def _send(there: Wire, number: int) -> None:
    block = there.block([*REQUEST, ("grpc-encoding", "gzip")])
    there.send(header_frames(number, block, 0, 16_384))
    there.send(frame(frames.DATA, frames.END_STREAM, number, b"\1" + len(LARGE).to_bytes(4) + LARGE))


async def test_one_at_a_time_and_those_of_other_connections_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    expand, begun, running, most = messages._expand, list[int](), list[int](), list[int]()

    def slowly(message: bytes, encoding: bytes, limit: int) -> bytes | None:
        if threading.current_thread() is threading.main_thread():
            return expand(message, encoding, limit)
        begun.append(1)
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return expand(message, encoding, limit)

    monkeypatch.setattr(messages, "_expand", slowly)
    async with peer() as there, wire(there.server.port) as many, wire(there.server.port) as one:
        many.greet()
        one.greet()
        for number in range(1, 101, 2):
            _send(many, number)
        await until(lambda: bool(begun))
        _send(one, 1)
        assert (await one.trailers(1))["grpc-status"] == "0"
        assert len(begun) < 50
        for number in range(1, 101, 2):
            assert (await many.trailers(number))["grpc-status"] == "0"
    assert len(begun) == 51
    assert max(most) == 1
