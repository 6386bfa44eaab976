"""Runs an engine in this process, without a gRPC service around it."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from services.engine.generation.building.build import BuiltEngine, build_engine
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.output.detokenizer import Decoder, IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import Delta, GenerationRequest
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics


class BareEngine:
    """Submits requests to an engine as a service does."""

    def __init__(self, engine: GenerationEngine, decoder: Decoder) -> None:
        self._engine, self._decoder, self._texts = engine, decoder, TokenTexts(decoder)

    def submit(self, request: GenerationRequest) -> GenerationStream:
        """Submits a request and returns its stream."""
        detokenizer = IncrementalDetokenizer(self._decoder, request.prompt_token_ids, skip_special_tokens=True)
        output = OutputBuilder(detokenizer, request.stopping, self._texts, structure=request.structure)
        return self._engine.submit(request, output)

    async def token_times(self, request: GenerationRequest) -> list[float]:
        """Runs a request and returns the arrival time of each token, on the machine's monotonic clock."""
        times: list[float] = []
        async for event in self.submit(request):
            if isinstance(event, Delta):
                times += [time.perf_counter()] * len(event.token_ids)
        return times


@contextmanager
def started(loaded: LoadedModel, settings: EngineSettings) -> Generator[BuiltEngine]:
    """Builds a model's engine and runs it inside the `with` block."""
    built = build_engine(loaded, settings, EngineMetrics(CollectorRegistry()))
    built.engine.start()
    try:
        yield built
    finally:
        built.engine.close()
