"""Runs the whole engine in this process: scheduling, sampling and streams, with a request for each prompt."""

import asyncio
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from benchmarks.bare_engine import BareEngine
from benchmarks.gpu.asked import Letters
from benchmarks.gpu.idle import TimedSteps
from benchmarks.gpu.steady import Steady, steady
from services.engine.generation.building.build import engine_of
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics


def run_requests(
    loaded: LoadedModel, parts: Parts, settings: EngineSettings, asked: list[GenerationRequest]
) -> tuple[Steady, float]:
    """Returns the token rate while all rows decode, and the share of that time in which the GPU is idle."""
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
