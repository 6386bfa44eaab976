"""Runs a `sensorium.rpc` server with scripted servicers, and a client channel to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import StatusCode

from sensorium import rpc
from sensorium.v1 import speech_pb2, speech_pb2_grpc, text_pb2, text_pb2_grpc

SERVICES = ("sensorium.v1.TextService", "sensorium.v1.SpeechService")
UNARY = "/sensorium.v1.TextService/Tokenize"
STREAM = "/sensorium.v1.TextService/StreamGenerate"
EXCHANGE = "/sensorium.v1.SpeechService/StreamTranscribe"
COLLECT = "/test.Raw/Collect"

Behaviour = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Does nothing."""


class Record:
    """An observer that records the start and the end of each call."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[tuple[str, StatusCode]] = []

    def started(self, method: str) -> None:
        self.began.append(method)

    def finished(self, method: str, code: StatusCode, seconds: float) -> None:
        assert seconds >= 0
        self.ended.append((method, code))


class Text(text_pb2_grpc.TextServiceServicer, speech_pb2_grpc.SpeechServiceServicer):
    """Runs `behaviour` in every call; in a stream, after its first response."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = nothing
        self.ids: list[str] = []
        self.closed = 0
        self.context: Any = None
        """The gRPC context of the StreamGenerate call in progress; None without one."""

    async def Tokenize(self, request: Any, context: Any) -> Any:
        self.ids.append(rpc.REQUEST_ID.get())
        await self.behaviour()
        return text_pb2.TokenizeResponse()

    async def StreamGenerate(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.context = context
        try:
            yield text_pb2.StreamGenerateResponse()
            await self.behaviour()
            yield text_pb2.StreamGenerateResponse()
        finally:
            self.closed += 1
            self.context = None

    async def StreamTranscribe(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        async for _ in request_iterator:
            yield speech_pb2.StreamTranscribeResponse()
            await self.behaviour()


class Raw(grpc.GenericRpcHandler):
    """Handles a client-streaming method on raw bytes: answers with the concatenated requests."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method != COLLECT:
            return None

        async def collect(requests: Any, _context: Any) -> bytes:
            collected = b"".join([request async for request in requests])
            await self._text.behaviour()
            return collected

        return grpc.stream_unary_rpc_method_handler(collect)


class Peer:
    def __init__(self, server: rpc.Server, text: Text, record: Record, channel: grpc.aio.Channel) -> None:
        self.server, self.text, self.record, self.channel = server, text, record, channel
        self.stub: Any = text_pb2_grpc.TextServiceStub(channel)

    def call(self, method: str, request: bytes = b"", **options: Any) -> Any:
        """Starts a call of any of the four arities, with raw bytes as its request."""
        if method == UNARY:
            return self.channel.unary_unary(method)(request, **options)
        if method == STREAM:
            return self.channel.unary_stream(method)(request, **options)
        if method == COLLECT:
            return self.channel.stream_unary(method)(iter([request]), **options)
        return self.channel.stream_stream(method)(iter([request]), **options)


async def ended(call: Any) -> StatusCode:
    """Reads a call to its end and returns its status code."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


@asynccontextmanager
async def peer(**settings: Any) -> AsyncIterator[Peer]:
    told: dict[str, Any] = {"port": 0, "metrics_port": 0, "drain_delay_seconds": 0, "drain_grace_seconds": 0}
    text, record = Text(), Record()
    server = rpc.Server(rpc.ServerSettings(**{**told, **settings}), SERVICES, observer=record)
    text_pb2_grpc.add_TextServiceServicer_to_server(text, server.grpc)
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(text, server.grpc)
    server.grpc.add_generic_rpc_handlers((Raw(text),))
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Peer(server, text, record, channel)
