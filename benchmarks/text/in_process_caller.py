"""Client of an engine in this process."""

import time
from collections.abc import Sequence
from typing import Self

from benchmarks.bare_engine import BareEngine
from benchmarks.text.sample import Prompt, RequestSample
from services.engine.generation.building.build import BuiltEngine
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel


class InProcessCaller:
    """Sends greedy requests, which cycle through the given adapter names; an empty name means none."""

    def __init__(self, loaded: LoadedModel, built: BuiltEngine, adapters: Sequence[str] = ("",)) -> None:
        self._engine = BareEngine(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))
        self._adapters, self._sent = adapters, 0
        self.tokens = 0
        """Tokens of all answers so far."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, prompts: Sequence[Prompt]) -> list[RequestSample]:
        """Runs the one prompt and returns its sample."""
        (prompt,) = prompts
        adapter, self._sent = self._adapters[self._sent % len(self._adapters)], self._sent + 1
        sent, stopping = time.perf_counter(), StoppingCriteria(max_new_tokens=prompt.new_tokens)
        request = GenerationRequest(prompt.token_ids, SamplingParameters(), stopping, adapter=adapter)
        times = await self._engine.token_times(request)
        self.tokens += len(times)
        return [RequestSample(sent, times)]
