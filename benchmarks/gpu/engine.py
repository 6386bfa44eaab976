"""The whole engine in this process: scheduling, sampling, streams, with a request for each prompt."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from benchmarks.bare_engine import BareEngine
from benchmarks.gpu.idle import TimedSteps
from benchmarks.gpu.steady import Steady, steady
from services.engine.generation.building.build import engine_of
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics


class Letters:
    """A tokenizer's place, which models with random weights have none for: each token is a letter."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Returns as many letters as there are ids."""
        del skip_special_tokens
        return "a" * len(ids)


def requests_of(prompts: list[list[int]], steps: int, *, drawn: bool) -> list[GenerationRequest]:
    """Returns a request of so many tokens for each prompt: greedy, or `drawn`, with a seed of its own."""
    stopping = StoppingCriteria(max_new_tokens=steps, min_new_tokens=steps)
    plain = SamplingParameters(temperature=0.8, top_p=0.95, top_k=50) if drawn else SamplingParameters()
    return [
        GenerationRequest(tuple(prompt), replace(plain, seed=seed), stopping) for seed, prompt in enumerate(prompts)
    ]


def run_requests(
    loaded: LoadedModel, parts: Parts, settings: EngineSettings, asked: list[GenerationRequest]
) -> tuple[Steady, float]:
    """Returns how fast tokens come while all rows decode, and the share of that time in which the GPU is idle."""
    runner = parts.runner
    assert isinstance(runner, ModelRunner)
    recorded = runner.recorded
    if recorded is None:
        return _measured(loaded, parts, settings, asked), float("nan")
    timed = TimedSteps(recorded)
    with patch.object(recorded, "launch", timed.launch):
        return _measured(loaded, parts, settings, asked), timed.idle_share()


def _measured(loaded: LoadedModel, parts: Parts, settings: EngineSettings, asked: list[GenerationRequest]) -> Steady:
    engine = engine_of(loaded, parts, settings, EngineMetrics(CollectorRegistry())).engine
    engine.start()
    try:
        return steady(asyncio.run(_all(BareEngine(engine, Letters()), asked)))
    finally:
        engine.close()


async def _all(engine: BareEngine, asked: list[GenerationRequest]) -> list[list[float]]:
    return await asyncio.gather(*(_arrivals(engine, request) for request in asked))


async def _arrivals(engine: BareEngine, request: GenerationRequest) -> list[float]:
    times, steps = await engine.token_times(request), request.stopping.max_new_tokens
    if len(times) != steps:
        raise RuntimeError(f"{len(times)} tokens came instead of {steps}")
    return times
