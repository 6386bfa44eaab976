"""A call may hold megabytes of its caller's: they go with it, and not when the garbage collector comes by."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from sensorium.rpc.http2 import frames
from sensorium.rpc.http2.frames import frame, header_frames
from sensorium.rpc.http2.server_call import ServerCall
from tests.rpc.http2.test_one_call_that_cannot_be_answered import changed
from tests.rpc.http2.wire import wire
from tests.rpc.peer import EXCHANGE, STREAM, UNARY, peer
from tests.waiting import until

PART = bytes([0, 0, 0, 0, 9]) + b"part"
WHOLE = bytes(5)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("path", [UNARY, STREAM, EXCHANGE])
@pytest.mark.parametrize("message", [PART, WHOLE], ids=["part", "whole"])
@pytest.mark.parametrize("reset", [False, True], ids=["left", "reset"])
async def test_nothing_of_it_stays(path: str, message: bytes, reset: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[weakref.ref[ServerCall]] = []
    begin = ServerCall.__init__

    def remembered(call: ServerCall, *arguments: Any) -> None:
        begin(call, *arguments)
        calls.append(weakref.ref(call))

    monkeypatch.setattr(ServerCall, "__init__", remembered)
    forever = asyncio.Event()
    async with peer() as there:
        there.text.behaviour = forever.wait  # type: ignore[assignment]
        async with wire(there.server.port) as caller:
            caller.greet()
            caller.send(header_frames(1, caller.block(changed(path=path)), 0, 16_384))
            caller.send(frame(frames.DATA, 0, 1, message))
            await until(lambda: bool(calls) and begun(calls[0]()))
            if reset:
                caller.send(frames.reset_frame(1, 8))
                await until(lambda: calls[0]() is None)
        await until(lambda: calls[0]() is None)


def begun(call: ServerCall | None) -> bool:
    return call is not None and call.begun_by_peer
