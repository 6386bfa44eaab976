"""gRPC's own client in C, which blocks: what it sends and what it makes of what it gets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from sensorium import rpc
from sensorium.rpc.http2.metadata import sent, trailers
from tests.rpc.peer import COLLECT, EXCHANGE, STREAM, UNARY, peer

BINARY = bytes(range(256))


class Mirror(grpc.GenericRpcHandler):
    """Answers each request with itself, between the caller's metadata."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method != "/test.Mirror/Show":
            return None

        async def show(requests: AsyncIterator[bytes], context: Any) -> None:
            own = tuple(pair for pair in context.invocation_metadata() if pair[0].startswith("own"))
            await context.send_initial_metadata(own)
            async for request in requests:
                await context.write(request)
            await context.abort(grpc.StatusCode.DATA_LOSS, "100 % of größe\nlost", own)

        behaviour: Any = show
        return grpc.stream_stream_rpc_method_handler(behaviour)


async def test_calls_of_all_arities_plain_and_compressed() -> None:
    async with peer() as there:

        def call() -> list[Any]:
            with grpc.insecure_channel(f"127.0.0.1:{there.server.port}", compression=grpc.Compression.Gzip) as channel:
                many = [b"x" * 100_000] * 3
                return [
                    channel.unary_unary(UNARY)(b""),
                    list(channel.unary_stream(STREAM)(b"")),
                    channel.stream_unary(COLLECT)(iter(many)) == b"".join(many),
                    list(channel.stream_stream(EXCHANGE)(iter([b"", b""]))),
                ]

        assert await asyncio.to_thread(call) == [b"", [b"", b""], True, [b"", b""]]


async def test_metadata_and_words_arrive_as_they_were_sent() -> None:
    server = rpc.Server(rpc.ServerSettings(port=0, metrics_port=0, drain_delay_seconds=0), ())
    server.grpc.add_generic_rpc_handlers((Mirror(),))
    own = (("own", "a, b"), ("own", "again"), ("own-bin", BINARY), ("own-bin", b""))

    def call() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            made: Any = channel.stream_stream("/test.Mirror/Show")(iter([b"1", b"22"]), metadata=own)
            came: list[bytes] = []
            with suppress(grpc.RpcError):
                came += made
            return came, made.code(), made.details(), made.initial_metadata(), made.trailing_metadata()

    async with server:
        came, code, details, *metadata = await asyncio.to_thread(call)
    assert came == [b"1", b"22"]
    assert (code, details) == (grpc.StatusCode.DATA_LOSS, "100 % of größe\nlost")
    for pairs in metadata:
        assert sorted((str(key), value) for key, value in pairs if key.startswith("own")) == sorted(own, key=str)


def test_what_cannot_be_metadata_is_refused_by_its_name() -> None:
    for pair in (("Upper", "x"), ("x", "line\nbreak"), (":path", "/")):
        with pytest.raises(ValueError, match="metadata"):
            sent([pair])
    assert trailers(grpc.StatusCode.OK, "", ()) == [(b"grpc-status", b"0")]
