"""The way of a request through preprocessing, the model and postprocessing, which overlap for several requests."""

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
"""Makes the result of a request from the model's outputs, one for each item."""


@dataclass(frozen=True)
class Prepared(Generic[T]):
    """The items of a request, and how its result is made from their outputs."""

    items: Sequence[Item]
    finish: Finish[T]
    input_tokens: int = 0
    images: int = 0
    audio_seconds: float | None = None


class Pipeline(EngineThreads[Batcher]):
    """Runs what comes before and after the model in threads of its own."""

    async def run(
        self, prepare: Callable[[], Prepared[T]], deadline: float | None, *, light: bool = False
    ) -> Answer[T]:
        """Returns the answer. Raises what `prepare`, the batcher and the finishing raise.

        What is `light` is prepared and finished on the event loop: that takes less time than a thread to wake.
        """
        began = time.monotonic()
        prepared = self.preprocessing.at_once(prepare) if light else await self.preprocessing.run(prepare)
        preprocess = time.monotonic() - began
        computed = await self.engine.run(prepared.items, deadline, prepared.input_tokens)
        if light:
            result = prepared.finish(computed.outputs)
        else:
            result = await self.preprocessing.finish(prepared.finish, computed.outputs)
        total = time.monotonic() - began
        times = RequestTimes(computed.times.queue, preprocess, computed.times.compute, total)
        return Answer(result, times, prepared.input_tokens, prepared.images, prepared.audio_seconds)
