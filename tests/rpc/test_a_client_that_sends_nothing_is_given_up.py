import asyncio
from contextlib import suppress

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from tests.rpc.peer import COLLECT, EXCHANGE, ended, peer
from tests.waiting import until


@pytest.mark.parametrize("method", [COLLECT, EXCHANGE])
@pytest.mark.parametrize("sent", [0, 2])
async def test_a_silent_stream_ends(method: str, sent: int):
    async with peer(silent_client_seconds=0.3) as there:
        arity = there.channel.stream_unary if method == COLLECT else there.channel.stream_stream
        call = arity(method)()
        with suppress(AioRpcError, asyncio.InvalidStateError):  # on a slow machine the call may end before the writes
            for _ in range(sent):
                await call.write(b"")
        assert await ended(call) is StatusCode.DEADLINE_EXCEEDED
        await until(lambda: there.record.ended == [(method, StatusCode.DEADLINE_EXCEEDED)])


async def test_a_client_is_only_waited_for_while_nothing_else_is_done():
    async with peer(silent_client_seconds=1) as there:
        worked: list[int] = []

        async def work() -> None:
            await asyncio.sleep(1.5)
            worked.append(1)

        there.text.behaviour = work
        while not worked:  # retried: on a slow machine even the message may arrive too late
            code = await ended(there.call(EXCHANGE))
        assert code is StatusCode.OK
