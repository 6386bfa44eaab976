"""`python -m benchmarks.transport.service`: the text service with a fake engine that makes tokens at a fixed pace.

Server, servicer and streams are those of `python -m services.text`. A thread takes the engine's place: in each step it
hands a token to every stream.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

from pydantic import Field

from sensorium import rpc
from sensorium.v1 import models_pb2
from sensorium.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from services.engine.generation.output.delivery import Outbox
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.requests.request import Completed, Delta, Finish, FinishReason, GenerationTimes
from services.generation.ask import Generation, GenerationAsk
from services.handlers import handlers
from services.model_servicer import ModelServicer
from services.served_model import ServedModel
from services.text.servicer import TextServicer
from services.text.verb_set import TextVerbs

SERVICES = ("sensorium.v1.TextService", "sensorium.v1.ModelService")
CONCURRENCY = 64
_TIMES = GenerationTimes(0.0, 0.0, 0.0, 0.0, 0.0)


class PacedSettings(rpc.ServerSettings):
    """Settings of the fake engine's pace."""

    step_seconds: float = Field(0.03, gt=0, description="Time from one token of a stream to the next.")
    max_messages_per_second: int = Field(2000, ge=0, description="As the services' own.")


class PacedEngine:
    """A fake engine: its thread hands a token to every stream in each step."""

    def __init__(self, step_seconds: float, messages_per_second: int) -> None:
        self._step_seconds = step_seconds
        self._pace = MessagePace(messages_per_second)
        self._left: dict[GenerationStream, int] = {}
        self._outbox = Outbox()

    def begin(self) -> None:
        """Starts the daemon thread, which runs until the process ends."""
        Thread(target=self._run, daemon=True, name="paced-engine").start()

    async def start(self, ask: GenerationAsk) -> Generation:
        """Takes the place of TextGenerator.start."""
        stream = GenerationStream(pace=self._pace)
        stream.on_cancel(lambda: self._left.pop(stream, None) and None)
        self._left[stream] = ask.options.max_new_tokens or 64
        return Generation(stream, len(ask.prompt_token_ids or ()), 0, None)

    async def start_all(self, make: Callable[[], list[GenerationAsk]], structured: object) -> list[Generation]:
        """Takes the place of TextGenerator.start_all."""
        del structured
        return [await self.start(ask) for ask in make()]

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            due += self._step_seconds
            time.sleep(max(due - time.monotonic(), 0))
            for stream, left in list(self._left.items()):
                self._step(stream, left)
            self._outbox.send()

    def _step(self, stream: GenerationStream, left: int) -> None:
        self._outbox.add(stream, Delta(" token", (4711,)))
        if left > 1:
            self._left[stream] = left - 1
            return
        self._left.pop(stream, None)
        end = Finish(FinishReason.MAX_NEW_TOKENS)
        self._outbox.add(stream, Completed((end,), 0, 0, _TIMES))


async def serve(settings: PacedSettings) -> None:
    """Serves until told to stop."""
    engine = PacedEngine(settings.step_seconds, settings.max_messages_per_second)
    served = ServedModel("paced")
    served.info.concurrency = CONCURRENCY
    served.info.tasks.append(models_pb2.TASK_GENERATE_TEXT)
    servicer = TextServicer(served)
    nothing: Any = None
    servicer.verbs = TextVerbs(tokenizer=nothing, generator=engine)
    server = rpc.Server(settings, SERVICES, name="text")
    server.grpc.add_generic_rpc_handlers((handlers(SERVICES[0], servicer, served.name),))
    add_ModelServiceServicer_to_server(ModelServicer(served), server.grpc)
    served.enter(models_pb2.MODEL_STATE_READY)

    async def prepare() -> None:
        await asyncio.to_thread(engine.begin)

    await rpc.run(server, prepare=prepare)


if __name__ == "__main__":
    sys.exit(rpc.main(PacedSettings, serve, program="python -m benchmarks.transport.service"))
