"""A text service without a model, whose behaviour a test scripts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from sensorium import rpc
from sensorium.errors import QueueFull
from sensorium.v1 import models_pb2, models_pb2_grpc, speech_pb2, speech_pb2_grpc, text_pb2, text_pb2_grpc

TASKS = (models_pb2.TASK_GENERATE_TEXT, models_pb2.TASK_TOKENIZE)
SERVICES = ("sensorium.v1.TextService", "sensorium.v1.SpeechService")


@dataclass
class Seen:
    """A call that reached the service. `seconds_left` is the time to its deadline; None: no deadline."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    seconds_left: float | None


@dataclass
class Script:
    """How calls are answered. Token ids count up from 0; tokens that the request says were delivered are skipped.

    Ends: `error` is raised after `tokens` deltas of a stream, or by a unary call. With `status`, a stream ends with
    that code (without details) instead of sending Completed, or after it if `late`. If not `completed`, the stream
    ends with OK but without Completed.

    Gates: a stream waits for `before` at its start, for `pause` before its first delta, and for `gate` before each
    further delta. A unary call waits for `gate`.
    """

    tokens: int = 3
    text: str = "word "
    error: Exception | None = None
    status: grpc.StatusCode | None = None
    late: bool = False
    completed: bool = True
    gate: asyncio.Event | None = None
    before: asyncio.Event | None = None
    pause: asyncio.Event | None = None


@dataclass
class FakeTextService:
    """Serves model `name` on loopback inside `async with`. It also has StreamTranscribe, a bidirectional stream."""

    name: str = "tiny"
    revision: str = "r1"
    tasks: tuple[int, ...] = TASKS
    state: int = models_pb2.MODEL_STATE_READY
    concurrency: int = 4
    most: int | None = None
    """Most concurrent streams; further ones get QUEUE_FULL. None: no limit."""
    script: Script = field(default_factory=Script)
    port: int = 0
    message_bytes: int = 32 * 1024 * 1024
    mute: str = ""
    """The path of a method that ends with OK but without a message, or with the bytes `instead`."""
    instead: bytes | None = None
    grace_seconds: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    running: int = 0
    written: int = 0
    ended: list[BaseException | None] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __post_init__(self) -> None:
        self.answers = asyncio.Event()
        """While cleared, ListModels gets no answer."""
        self.answers.set()

    async def __aenter__(self) -> "FakeTextService":
        settings = rpc.ServerSettings(
            port=self.port,
            metrics_port=0,
            message_bytes=self.message_bytes,
            drain_delay_seconds=0,
            drain_grace_seconds=self.grace_seconds,
            **self.settings,
        )
        self.server = rpc.Server(settings, SERVICES)
        if self.mute:
            self.server.grpc.add_generic_rpc_handlers((_Mute(self),))
        text_pb2_grpc.add_TextServiceServicer_to_server(_Text(self), self.server.grpc)
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(_Speech(self), self.server.grpc)
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(self), self.server.grpc)
        await self.server.start()
        self.port = self.server.port
        self.server.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.drain()

    def begin(self, method: str, request: Any, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.seen.append(Seen(method, request, metadata, context.time_remaining()))
        self.running += 1

    def end(self, error: BaseException | None) -> None:
        self.running -= 1
        self.ended.append(error)


class _Text(text_pb2_grpc.TextServiceServicer):
    def __init__(self, fake: FakeTextService) -> None:
        self.fake = fake

    async def Tokenize(self, request: Any, context: Any) -> Any:
        fake, script = self.fake, self.fake.script
        fake.begin("Tokenize", request, context)
        ended: BaseException | None = None
        try:
            if script.gate is not None:
                await script.gate.wait()
            if script.error is not None:
                raise script.error
            context.set_trailing_metadata((("x-fake", "trailing"),))
            return text_pb2.TokenizeResponse(results=[_tokens(text) for text in request.texts])
        except BaseException as error:
            ended = error
            raise
        finally:
            fake.end(ended)

    async def StreamGenerate(self, request: Any, context: Any) -> AsyncIterator[Any]:
        fake, script = self.fake, self.fake.script
        fake.begin("StreamGenerate", request, context)
        ended: BaseException | None = None
        try:
            if fake.most is not None and fake.running > fake.most:
                raise QueueFull("full", retry_after=30)
            if script.before is not None:
                await script.before.wait()
            if script.tokens:
                model = {"name": fake.name, "revision": fake.revision}
                started = {"model": model, "prompt_token_count": 7, "seed": request.parameters.seed or fake.port}
                yield text_pb2.StreamGenerateResponse(started=started)
            if script.pause is not None:
                await script.pause.wait()
            first = sum(len(known.token_ids) for known in request.delivered)
            for index in range(first, script.tokens):
                if index > first and script.gate is not None:
                    await script.gate.wait()
                fake.written += 1
                yield text_pb2.StreamGenerateResponse(delta={"text": script.text, "token_ids": [index]})
            if script.error is not None:
                raise script.error
            if script.status is not None and not script.late:
                await context.abort(script.status)
            if script.completed:
                usage = {"input_token_count": 7, "output_token_count": script.tokens}
                yield text_pb2.StreamGenerateResponse(completed={"usage": usage})
            if script.status is not None:
                await context.abort(script.status)
        except BaseException as error:
            ended = error
            raise
        finally:
            fake.end(ended)


class _Mute(grpc.GenericRpcHandler):
    """Answers a unary method with no message or with invalid bytes, through a streaming handler."""

    def __init__(self, fake: FakeTextService) -> None:
        self.fake = fake

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method != self.fake.mute:
            return None
        return grpc.unary_stream_rpc_method_handler(self.answer)  # type: ignore[arg-type]

    async def answer(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.fake.begin(self.fake.mute, request, context)
        self.fake.end(None)
        if self.fake.instead is not None:
            yield self.fake.instead


class _Speech(speech_pb2_grpc.SpeechServiceServicer):
    def __init__(self, fake: FakeTextService) -> None:
        self.fake = fake

    async def StreamTranscribe(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        fake = self.fake
        fake.begin("StreamTranscribe", None, context)
        try:
            if fake.script.error is not None:
                raise fake.script.error
            async for _ in request_iterator:
                yield speech_pb2.StreamTranscribeResponse()
            if fake.script.completed:
                yield speech_pb2.StreamTranscribeResponse(completed={})
        finally:
            fake.end(None)


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    def __init__(self, fake: FakeTextService) -> None:
        self.fake = fake

    async def ListModels(self, request: Any, context: Any) -> Any:
        fake = self.fake
        await fake.answers.wait()
        info = models_pb2.ModelInfo(
            identity={"name": fake.name, "revision": fake.revision},
            state=fake.state,
            tasks=fake.tasks,
            concurrency=fake.concurrency,
            endpoint_count=1,
        )
        return models_pb2.ListModelsResponse(models=[info])


def _tokens(text: str) -> Any:
    return text_pb2.TokenizeResponse.TokenList(tokens=[{"id": len(word), "piece": word} for word in text.split()])
