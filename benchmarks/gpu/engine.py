"""The whole engine in this process: scheduling, sampling, streams, with a request for each prompt."""

import asyncio
from collections.abc import Sequence
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


def run_requests(
    loaded: LoadedModel, parts: Parts, settings: EngineSettings, prompts: list[list[int]], steps: int
) -> tuple[Steady, float]:
    """Returns how fast tokens come while all rows decode, and the share of that time in which the GPU is idle."""
    runner = parts.runner
    assert isinstance(runner, ModelRunner)
    recorded = runner.recorded
    if recorded is None:
        return _measured(loaded, parts, settings, prompts, steps), float("nan")
    timed = TimedSteps(recorded)
    with patch.object(recorded, "launch", timed.launch):
        return _measured(loaded, parts, settings, prompts, steps), timed.idle_share()


def _measured(
    loaded: LoadedModel, parts: Parts, settings: EngineSettings, prompts: list[list[int]], steps: int
) -> Steady:
    engine = engine_of(loaded, parts, settings, EngineMetrics(CollectorRegistry())).engine
    engine.start()
    try:
        return steady(asyncio.run(_all(BareEngine(engine, Letters()), prompts, steps)))
    finally:
        engine.close()


async def _all(engine: BareEngine, prompts: list[list[int]], steps: int) -> list[list[float]]:
    return await asyncio.gather(*(_arrivals(engine, prompt, steps) for prompt in prompts))


async def _arrivals(engine: BareEngine, prompt: list[int], steps: int) -> list[float]:
    stopping = StoppingCriteria(max_new_tokens=steps, min_new_tokens=steps)
    times = await engine.token_times(GenerationRequest(tuple(prompt), SamplingParameters(), stopping))
    if len(times) != steps:
        raise RuntimeError(f"{len(times)} tokens came instead of {steps}")
    return times
