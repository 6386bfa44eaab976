import asyncio
import time

import pytest
from grpc import StatusCode

from tests.rpc.peer import COLLECT, EXCHANGE, ended, peer
from tests.waiting import until


@pytest.mark.parametrize("method", [COLLECT, EXCHANGE])
@pytest.mark.parametrize("sent", [0, 2])
async def test_a_silent_stream_ends(method: str, sent: int):
    async with peer(silent_client_seconds=0.3) as there:
        arity = there.channel.stream_unary if method == COLLECT else there.channel.stream_stream
        call = arity(method)()
        began = time.monotonic()
        for _ in range(sent):
            await call.write(b"")
        assert await ended(call) is StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 10
        await until(lambda: there.record.ended == [(method, StatusCode.DEADLINE_EXCEEDED)])


async def test_a_client_is_only_waited_for_while_nothing_else_is_done():
    async with peer(silent_client_seconds=0.2) as there:

        async def work() -> None:
            await asyncio.sleep(0.5)

        there.text.behaviour = work
        assert await ended(there.call(EXCHANGE)) is StatusCode.OK
