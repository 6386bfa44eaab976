"""A peer that hangs is detected by keepalive pings: its TCP connection stays open, so only a time limit can tell."""

import asyncio
from contextlib import suppress

import grpc

from sensorium.client.settings import Settings
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.fakes.cable import Cable
from tests.rpc.peer import peer

SOONER = {30_000: 100, 10_000: 300}
"""Shorter keepalive options, in ms, by their value in production: the ping interval, and the time for its answer."""

OF_CLIENTS = Settings(
    target="127.0.0.1:1", model="", timeout=None, tls=None, token=None, plaintext_token=False, message_bytes=1 << 20,
    retry=None,
).channel_options()  # fmt: skip


async def test_a_stream_of_one_ends_in_the_time_that_options_name() -> None:
    sooner = [(name, SOONER.get(value, value) if isinstance(value, int) else value) for name, value in OF_CLIENTS]
    held = asyncio.Event()

    async def hang() -> None:
        await held.wait()

    async with peer() as hanging, Cable(hanging.server.port) as cable:
        hanging.text.behaviour = hang
        async with grpc.aio.insecure_channel(cable.address, sooner) as channel:
            stub, call = text_pb2_grpc.TextServiceStub(channel), None
            while call is None:  # retried: on a stalled machine, keepalive may give up a peer that works
                with suppress(grpc.aio.AioRpcError):
                    begun = stub.StreamGenerate(text_pb2.StreamGenerateRequest())
                    await begun.read()
                    call = begun
            cable.hold()
            async with asyncio.timeout(40):  # less than gRPC's own limit of a minute
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
        held.set()
