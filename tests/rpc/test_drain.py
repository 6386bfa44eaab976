import asyncio

import grpc
import pytest

from sensorium.errors import ModelNotReady
from sensorium.status import from_rpc_error
from tests.rpc.peer import STREAM, UNARY, ended, peer
from tests.waiting import until


async def test_running_calls_finish_and_new_ones_are_told_when_to_retry():
    gate = asyncio.Event()
    async with peer(drain_grace_seconds=60) as there:
        there.text.behaviour = gate.wait
        running = there.call(STREAM)
        await running.read()
        draining = asyncio.ensure_future(there.server.drain())
        await until(lambda: there.server.gate.closed)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await there.call(UNARY)
        error = from_rpc_error(caught.value)
        assert isinstance(error, ModelNotReady)
        assert error.retry_after
        assert error.metadata["state"] == "draining"
        assert not draining.done()
        gate.set()
        assert await running.read() == b""
        assert await running.read() is grpc.aio.EOF
        await draining


async def test_during_the_delay_calls_still_come_in_and_health_says_not_serving():
    async with peer(drain_delay_seconds=3600) as there:
        there.server.ready()
        draining = asyncio.ensure_future(there.server.drain())
        await until(lambda: not there.server.health.serving)
        assert await ended(there.call(UNARY)) is grpc.StatusCode.OK
        there.server.hurry.set()
        await draining


async def test_calls_that_take_longer_than_the_grace_are_cut():
    async with peer(drain_grace_seconds=0.2) as there:
        there.text.behaviour = asyncio.Event().wait
        running = there.call(STREAM)
        await running.read()
        await there.server.drain()
        assert await ended(running_rest(running)) is grpc.StatusCode.UNAVAILABLE
        await until(lambda: there.text.closed == 1)


async def running_rest(call) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_an_idle_server_does_not_use_up_its_grace():
    async with peer(drain_grace_seconds=3600) as there:
        watch = there.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        await watch.read()
        async with asyncio.timeout(300):
            await there.server.drain()


async def test_draining_twice_is_draining_once():
    async with peer() as there:
        await asyncio.gather(there.server.drain(), there.server.drain())
        await there.server.drain()
