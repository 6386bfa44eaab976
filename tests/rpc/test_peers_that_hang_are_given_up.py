"""A peer that hangs while its machine still takes bytes breaks no connection by itself."""

import asyncio
from contextlib import suppress

import grpc

from sensorium.client.settings import Settings
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.fakes.cable import Cable
from tests.rpc.peer import peer

SOONER = {30_000: 100, 10_000: 300}
"""Milliseconds that a channel waits: until it asks whether the peer lives, and for the answer."""

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
            while call is None:  # on a machine that stands still, the peer hangs before its time
                with suppress(grpc.aio.AioRpcError):
                    begun = stub.StreamGenerate(text_pb2.StreamGenerateRequest())
                    await begun.read()
                    call = begun
            cable.hold()
            async with asyncio.timeout(40):  # gRPC's own patience is a minute
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
        held.set()
