"""A request's way through a model that reads once: neither what is before nor what is behind keeps the model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.engine.batching.answer import Answer, RequestTimes
from services.engine.batching.batcher import Batcher
from services.engine.batching.job import Item
from services.engine.threads.engine_threads import EngineThreads

T = TypeVar("T")


Finish = Callable[[Sequence[Any]], T]
"""Makes a result of the model's outputs, one for each item."""


@dataclass(frozen=True)
class Prepared(Generic[T]):
    """What the model is to read, and what is to be made of its outputs."""

    items: Sequence[Item]
    finish: Finish[T]
    input_tokens: int = 0
    images: int = 0
    audio_seconds: float | None = None


class Pipeline(EngineThreads[Batcher]):
    """Neither the event loop nor the model's thread is kept by what is done before and after the model."""

    async def run(self, prepare: Callable[[], Prepared[T]], deadline: float | None) -> Answer[T]:
        """Returns the answer. Raises what `prepare`, the batcher and the finishing raise."""
        began = time.monotonic()
        prepared = await self.preprocessing.run(prepare)
        preprocess = time.monotonic() - began
        computed = await self.engine.run(prepared.items, deadline, prepared.input_tokens)
        result = await self.preprocessing.finish(prepared.finish, computed.outputs)
        total = time.monotonic() - began
        times = RequestTimes(computed.times.queue, preprocess, computed.times.compute, total)
        return Answer(result, times, prepared.input_tokens, prepared.images, prepared.audio_seconds)
