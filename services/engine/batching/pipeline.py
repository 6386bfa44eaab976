"""Takes requests through preprocessing, the model and postprocessing, which overlap for different requests."""

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
    """The items of a request, and `finish`, which makes its result from their outputs."""

    items: Sequence[Item]
    finish: Finish[T]
    input_tokens: int = 0
    images: int = 0
    audio_seconds: float | None = None


class Pipeline(EngineThreads[Batcher]):
    """Runs pre- and postprocessing in its own threads, and the model in the batcher's."""

    async def run(
        self, prepare: Callable[[], Prepared[T]], deadline: float | None, *, light: bool = False
    ) -> Answer[T]:
        """Returns the answer. Raises what `prepare`, the batcher and `finish` raise.

        `light` requests are prepared and finished on the event loop, which takes less time than waking a thread.
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
