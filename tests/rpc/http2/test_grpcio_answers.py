"""gRPC's own servers, of threads and of asyncio: what they send, and what they make of what they get."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from sensorium.rpc.http2.channel import Channel
from tests.waiting import until

METHOD = "/test.Mirror/Show"
OWN = (("own", "a, b"), ("own-bin", bytes(range(256))))


def _own(context: Any) -> tuple[Any, ...]:
    return tuple(pair for pair in context.invocation_metadata() if pair[0].startswith("own"))


class Mirror(grpc.GenericRpcHandler):
    """Answers each request with itself, between the caller's metadata, and fails where one is `fail`."""

    def __init__(self) -> None:
        self.came = self.left = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(self.show)

    def show(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self.came += 1
        context.add_callback(self._leave)
        context.send_initial_metadata(_own(context))
        context.set_trailing_metadata(_own(context))
        for request in requests:
            if request == b"fail":
                context.abort(StatusCode.DATA_LOSS, "100 % of größe\nlost")
            yield request

    def _leave(self) -> None:
        self.left += 1


class MirrorInTurn(Mirror):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method != METHOD:
            return None

        async def show(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            self.came += 1
            context.add_done_callback(lambda _: self._leave())
            await context.send_initial_metadata(_own(context))
            context.set_trailing_metadata(_own(context))
            async for request in requests:
                if request == b"fail":
                    await context.abort(StatusCode.DATA_LOSS, "100 % of größe\nlost", _own(context))
                yield request

        behaviour: Any = show
        return grpc.stream_stream_rpc_method_handler(behaviour)


@asynccontextmanager
async def mirror(kind: str) -> AsyncIterator[tuple[Channel, Mirror]]:
    handler = Mirror() if kind == "threads" else MirrorInTurn()
    if kind == "threads":
        server: Any = grpc.server(ThreadPoolExecutor(4), (handler,), compression=grpc.Compression.Gzip)
    else:
        server = grpc.aio.server(handlers=(handler,), compression=grpc.Compression.Gzip)
    channel = Channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", 4 * 1024 * 1024)
    if kind == "threads":
        server.start()
    else:
        await server.start()
    try:
        yield channel, handler
    finally:
        await channel.close()
        stopped = server.stop(None)
        await (asyncio.to_thread(stopped.wait) if kind == "threads" else stopped)


@pytest.mark.parametrize("kind", ["threads", "turns"])
async def test_messages_of_all_sizes_metadata_and_words_come_as_they_were_sent(kind: str) -> None:
    messages = [b"", b"x", bytes(16_379), bytes(range(256)) * 12_000]
    async with mirror(kind) as (channel, _):
        with await channel.open(METHOD, OWN, 60) as call:
            for message in messages:
                await call.write(message)
                assert await call.read() == message
            assert [pair for pair in call.initial if pair[0].startswith("own")] == list(OWN)
            call.done_writing()
            assert await call.read() is None
            assert set(OWN) <= set(call.trailing)
        with await channel.open(METHOD, OWN) as call:
            await call.write(b"fail")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert (caught.value.code(), caught.value.details()) == (StatusCode.DATA_LOSS, "100 % of größe\nlost")
        assert set(OWN) <= set(caught.value.trailing_metadata())
        with await channel.open("/test.Mirror/Nothing") as call:
            call.ask(b"")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert caught.value.code() is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", ["threads", "turns"])
async def test_who_gives_up_or_runs_out_of_time_is_let_go(kind: str) -> None:
    async with mirror(kind) as (channel, handler):
        with await channel.open(METHOD) as call:
            await call.write(b"x")
            assert await call.read() == b"x"
        await until(lambda: handler.left == 1)
        while handler.came < 2:  # retried: on a slow machine the time may be over before the call has come
            with await channel.open(METHOD, (), 0.2) as call, pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
        await until(lambda: handler.left == handler.came)


@pytest.mark.parametrize("kind", ["threads", "turns"])
async def test_many_at_a_time_share_a_connection(kind: str) -> None:
    async with mirror(kind) as (channel, _):

        async def one(number: int) -> None:
            with await channel.open(METHOD) as call:
                call.ask(bytes([number]) * 100_000)
                assert await call.read() == bytes([number]) * 100_000
                assert await call.read() is None

        await asyncio.gather(*(one(number) for number in range(50)))
        assert len(channel._connections) == 1
