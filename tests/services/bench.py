"""An engine with its parts in reach, and what a test asks it for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from services.engine.generation.admission import Admission, QueueLimits
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.build import PAGE_SIZE, BuiltEngine, EngineSettings, build_engine, probe_layouts
from services.engine.generation.detokenizer import Decoder, IncrementalDetokenizer
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.kv_cache import KVCache
from services.engine.generation.output import OutputBuilder
from services.engine.generation.page_pool import PagePool
from services.engine.generation.request import (
    Completed,
    Delta,
    GenerationRequest,
    SamplingParameters,
    StoppingCriteria,
    TokenLogprob,
)
from services.engine.generation.runner import ModelRunner
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.stream import GenerationStream
from services.engine.generation.token_texts import TokenTexts
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from tests.tiny_models import tokenizer


def request(
    prompt: list[int], *, delivered: tuple[int, ...] = (), priority: int = 0, **fields: Any
) -> GenerationRequest:
    """Returns a request; `fields` are those of SamplingParameters and StoppingCriteria. Greedy by default."""
    deadline = fields.pop("deadline", None)
    salt = fields.pop("cache_salt", "")
    logprob_count = fields.pop("logprob_count", None)
    structure = fields.pop("structure", None)
    sampling = {name: fields.pop(name) for name in list(fields) if name in SamplingParameters.__dataclass_fields__}
    return GenerationRequest(
        prompt_token_ids=tuple(prompt),
        sampling=SamplingParameters(**sampling),
        stopping=StoppingCriteria(**({"max_new_tokens": 16} | fields)),
        delivered_token_ids=delivered,
        priority=priority,
        deadline=deadline,
        cache_salt=salt,
        logprob_count=logprob_count,
        structure=structure,
    )


def output_of(asked: GenerationRequest, decoder: Decoder | None = None) -> OutputBuilder:
    """Returns the request's output builder, its delivered tokens replayed."""
    decoder = decoder or tokenizer()
    detokenizer = IncrementalDetokenizer(decoder, asked.prompt_token_ids, skip_special_tokens=True)
    output = OutputBuilder(detokenizer, asked.stopping, TokenTexts(decoder), asked.structure)
    output.replay(asked.delivered_token_ids)
    return output


@dataclass
class Result:
    """A stream read to its end."""

    text: str
    ids: list[int]
    completed: Completed
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])


async def read(stream: GenerationStream) -> Result:
    """Reads a stream to its end."""
    text, ids, logprobs = "", [], []
    async for event in stream:
        if isinstance(event, Completed):
            return Result(text, ids, event, logprobs)
        text += event.text
        ids += event.token_ids
        logprobs += event.logprobs
    raise AssertionError("the stream ended without Completed")


async def first_delta(stream: GenerationStream) -> Delta:
    event = await anext(stream)
    assert isinstance(event, Delta)
    return event


async def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns as soon as `condition` holds, or fails."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.002)


@dataclass
class Bench:
    """One running engine."""

    engine: GenerationEngine
    scheduler: Scheduler
    pool: PagePool
    runner: Any
    registry: CollectorRegistry

    def submit(self, prompt: list[int], **fields: Any) -> GenerationStream:
        asked = request(prompt, **fields)
        return self.engine.submit(asked, output_of(asked))

    async def run(self, prompt: list[int], **fields: Any) -> Result:
        return await read(self.submit(prompt, **fields))

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"sensorium_engine_{name}", labels) or 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits, and nothing is held."""
        admission = self.engine.admission
        return (
            self.metric("requests_running") == 0
            and admission.requests == admission.tokens == 0
            and self.pool.free_count == self.pool.page_count
        )


BenchMaker = Callable[..., Bench]


def real_bench(loaded: LoadedModel, *, pages: int = 256, **sizes: int) -> Bench:
    """Starts an engine over `loaded` with a cache of `pages` pages."""
    cache = KVCache(probe_layouts(loaded), pages, PAGE_SIZE, loaded.device)
    return assemble(ModelRunner(loaded.model, ReferenceAttention(), cache, loaded.device), pages, **sizes)


def fake_bench(runner: Any, *, pages: int = 1024, **sizes: int) -> Bench:
    """Starts an engine over a fake runner."""
    return assemble(runner, pages, **sizes)


def assemble(runner: Any, pages: int, *, max_sequences: int = 8, prefill_tokens: int = 64, queue: int = 1000) -> Bench:
    """Starts an engine over any runner."""
    bench = prepare(runner, pages, max_sequences=max_sequences, prefill_tokens=prefill_tokens, queue=queue)
    bench.engine.start()
    return bench


def prepare(runner: Any, pages: int, *, max_sequences: int, prefill_tokens: int, queue: int) -> Bench:
    """Returns an engine whose thread was not started."""
    registry = CollectorRegistry()
    pool = PagePool(pages, PAGE_SIZE)
    scheduler = Scheduler(pool, max_sequences=max_sequences, prefill_tokens=prefill_tokens)
    admission = Admission(QueueLimits(requests=queue))
    engine = GenerationEngine(runner, scheduler, pool, admission, EngineMetrics(registry))
    return Bench(engine, scheduler, pool, runner, registry)


def build(loaded: LoadedModel, **settings: Any) -> BuiltEngine:
    """Returns the engine that a service would run, checked and not started."""
    return build_engine(loaded, EngineSettings(**settings), EngineMetrics(CollectorRegistry()))
