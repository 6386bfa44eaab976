"""Callers that do not stop, and what each of their calls came to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import grpc

from sensorium.status import from_rpc_error
from sensorium.v1 import text_pb2, text_pb2_grpc
from tests.waiting import PATIENCE


@dataclass(eq=False)
class Ended:
    """A call that ended: where it ran, as far as is known, its events, and the reason of its failure, if any."""

    kind: str
    begun: float
    endpoint: str = ""
    events: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    reason: str = ""
    message: str = ""


class Callers:
    """Many callers of one gateway, each with one call at a time. They try nothing again by themselves."""

    def __init__(self, channel: grpc.aio.Channel, stream: Any, whole: Any) -> None:
        """`stream` is what streams are asked for, `whole` what is answered in one piece."""
        self.ended: list[Ended] = []
        self.running: list[Ended] = []
        """Calls that have not ended yet."""
        self._stub: Any = text_pb2_grpc.TextServiceStub(channel)
        self._stream = stream
        self._whole = whole
        self._stopping = False

    @property
    def failed(self) -> list[Ended]:
        return [call for call in self.ended if call.reason]

    def served_by(self, endpoint: str) -> list[Ended]:
        return [call for call in self.ended if call.endpoint == endpoint]

    async def call(self, once: Callable[[Ended], Any], kind: str) -> None:
        while not self._stopping:
            ended = Ended(kind, monotonic())
            self.running.append(ended)
            try:
                async with asyncio.timeout(PATIENCE):
                    await once(ended)
            except grpc.aio.AioRpcError as error:
                told = from_rpc_error(error)
                ended.reason, ended.message = told.reason, told.message
                # A caller waits a little before he tries again.
                await asyncio.sleep(0.1)
            finally:
                self.running.remove(ended)
                self.ended.append(ended)

    async def stream(self, ended: Ended) -> None:
        call = self._stub.StreamGenerate(self._stream)
        ended.endpoint = await _endpoint_of(call)
        async for event in call:
            ended.events.append(event.WhichOneof("event"))
            ended.token_ids += event.delta.token_ids
        assert ended.events[-1] == "completed"

    async def whole(self, ended: Ended) -> None:
        call = self._stub.Generate(self._whole)
        ended.endpoint = await _endpoint_of(call)
        assert (await call).candidates

    def stop(self) -> None:
        """Lets every caller finish its call and make no other."""
        self._stopping = True


@asynccontextmanager
async def calling(address: str, *, streams: int, wholes: int, tokens: int) -> AsyncIterator[Callers]:
    """Runs callers for the time inside."""
    parameters = {"max_new_tokens": tokens, "ignore_eos": True, "temperature": 0.8, "seed": 7}
    asked = {"prompt": "The sea is", "parameters": parameters}
    options = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        callers = Callers(channel, text_pb2.StreamGenerateRequest(**asked), text_pb2.GenerateRequest(**asked))
        tasks = [asyncio.ensure_future(callers.call(callers.stream, "stream")) for _ in range(streams)]
        tasks += [asyncio.ensure_future(callers.call(callers.whole, "whole")) for _ in range(wholes)]
        try:
            yield callers
        finally:
            callers.stop()
            await asyncio.gather(*tasks)


async def _endpoint_of(call: Any) -> str:
    metadata = await call.initial_metadata()
    return dict(metadata or ()).get("x-sensorium-endpoint", "")
