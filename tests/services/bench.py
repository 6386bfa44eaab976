"""Builds generation engines for tests, with access to their parts, and requests for them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.engine.admission import Admission, QueueLimits
from services.engine.generation import engine as engines
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import (
    PAGE_SIZE,
    BuiltEngine,
    EngineSettings,
    build_engine,
    paged_parts,
    probe_layouts,
    serial_parts,
)
from services.engine.generation.building.encoder_decoder_build import encoder_decoder_parts
from services.engine.generation.building.parts import Parts, choose_backend
from services.engine.generation.building.verified_runner import accelerate_and_verify
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.group import SequenceGroup
from services.engine.generation.output.detokenizer import Decoder, IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.stream import GenerationStream
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.prefill_budget import PrefillBudget
from services.engine.generation.requests.request import (
    Completed,
    Delta,
    GenerationRequest,
    PromptLogprobs,
    SamplingParameters,
    StoppingCriteria,
    TokenLogprob,
)
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.scheduler import Scheduler
from services.engine.generation.speculation.speculation import Speculation
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from tests.services.eager_launcher import EagerLauncher
from tests.tiny.language_models import tokenizer


def request(prompt: list[int], *, delivered: tuple[int, ...] = (), **fields: Any) -> GenerationRequest:
    """Returns a request; `fields` are those of SamplingParameters, StoppingCriteria and itself. Greedy by default.

    `delivered` are the tokens that the client already holds of the first candidate, `delivered_each` those of each.
    `source` are the input tokens of an encoder-decoder's encoder.
    """

    def taken(kind: type) -> dict[str, Any]:
        return {name: fields.pop(name) for name in list(fields) if name in kind.__dataclass_fields__}

    fields["delivered"] = fields.pop("delivered_each", (delivered,))
    fields["source_token_ids"] = tuple(fields.pop("source", ()))
    return GenerationRequest(
        prompt_token_ids=tuple(prompt),
        sampling=SamplingParameters(**taken(SamplingParameters)),
        stopping=StoppingCriteria(**({"max_new_tokens": 16} | taken(StoppingCriteria))),
        **fields,
    )


def output_of(asked: GenerationRequest, decoder: Decoder | None = None, candidate: int = 0) -> OutputBuilder:
    """Returns the output builder of one candidate, with the delivered tokens replayed."""
    decoder = decoder or _decoder()
    detokenizer = IncrementalDetokenizer(decoder, asked.prompt_token_ids, skip_special_tokens=True)
    texts = TokenTexts(decoder)
    output = OutputBuilder(detokenizer, asked.stopping, texts, candidate, asked.structure, asked.forced_count)
    if not asked.beams:
        output.replay(asked.delivered_to(candidate))
    return output


@cache
def _decoder() -> Decoder:
    """Returns one tokenizer for all outputs, which only read it: to copy it takes longer than most of them."""
    return tokenizer()


def outputs_of(asked: GenerationRequest) -> list[OutputBuilder]:
    """Returns the output builders of all candidates."""
    return [output_of(asked, candidate=i) for i in range(asked.candidate_count)]


@dataclass
class Result:
    """A stream read to its end. `text`, `ids` and `logprobs` are those of the first candidate."""

    text: str
    ids: list[int]
    completed: Completed
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    candidates: list[Delta] = field(default_factory=list[Delta])
    """The whole output of each candidate, by index."""
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])


async def read(stream: GenerationStream) -> Result:
    """Reads a stream to its end. Raises what the stream raises."""
    whole: dict[int, Delta] = {}
    prompt_logprobs: list[TokenLogprob] = []
    async for event in stream:
        if isinstance(event, Completed):
            indices = range(len(event.finishes))
            assert set(whole) <= set(indices)
            candidates = [whole.get(i, Delta("", (), candidate_index=i)) for i in indices]
            first = candidates[0]
            return Result(first.text, [*first.token_ids], event, [*first.logprobs], candidates, prompt_logprobs)
        if isinstance(event, PromptLogprobs):
            assert not whole
            prompt_logprobs += event.entries
        else:
            known = whole.get(event.candidate_index)
            whole[event.candidate_index] = known + event if known else event
    raise AssertionError("the stream ended without Completed")


async def first_delta(stream: GenerationStream) -> Delta:
    event = await anext(stream)
    assert isinstance(event, Delta)
    return event


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Moves the monotonic clock that generation engines read ahead by `seconds`."""
    monkeypatch.setattr(engines, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + seconds))


async def eventually(condition: Callable[[], bool], seconds: float = 180) -> None:
    """Polls until `condition` holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.002)


@contextmanager
def at_once(engine: GenerationEngine) -> Iterator[None]:
    """Hands the engine all requests submitted inside the block at once, so that the same step sees all of them."""
    thread, letters = engine._thread, list[SequenceGroup]()

    def keep(_box: deque[SequenceGroup], letter: SequenceGroup, *_counted: object) -> None:
        letters.append(letter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread, "submit", keep)
        yield
    with thread._wake:
        engine._new.extend(letters)
        thread._wake.notify()


@dataclass
class Bench:
    """One running engine."""

    engine: GenerationEngine
    scheduler: Scheduler
    pool: PagePool
    runner: Any
    registry: CollectorRegistry
    launcher: Any = None

    def submit(self, prompt: list[int], **fields: Any) -> GenerationStream:
        asked = request(prompt, **fields)
        return self.engine.submit(asked, *outputs_of(asked))

    async def run(self, prompt: list[int], **fields: Any) -> Result:
        return await read(self.submit(prompt, **fields))

    def submit_all(self, *asked: tuple[list[int], dict[str, Any]]) -> list[GenerationStream]:
        """Submits requests that the engine receives together, see `at_once`."""
        with at_once(self.engine):
            return [self.submit(prompt, **fields) for prompt, fields in asked]

    async def run_all(self, *asked: tuple[list[int], dict[str, Any]], return_exceptions: bool = False) -> list[Any]:
        """Runs requests that the engine receives together, see `at_once`."""
        return await asyncio.gather(*map(read, self.submit_all(*asked)), return_exceptions=return_exceptions)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"sensorium_engine_{name}", labels) or 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits, and no page or state is held."""
        admission = self.engine.admission
        return (
            self.metric("requests_running") == 0
            and admission.requests == admission.tokens == 0
            and self.pool.free_count == self.pool.page_count
        )


BenchMaker = Callable[..., Bench]


def real_bench(
    loaded: LoadedModel, *, pages: int = 256, accelerated: bool = False, reference: bool = False, **sizes: Any
) -> Bench:
    """Starts an engine over `loaded` with a KV cache of `pages` pages.

    It uses the model's own modules and, on a CPU, a service's attention, which takes a tenth of the time of the
    `reference`. If `accelerated`, it uses all that a service would, which changes the model's modules.
    """
    cache = KVCache(probe_layouts(loaded), pages, PAGE_SIZE, loaded.device)
    reference |= loaded.device.type != "cpu" and not accelerated
    backend = ReferenceAttention() if reference else choose_backend(loaded, cache)
    runner = ModelRunner(loaded.model, backend, cache, loaded.device, loaded.adapters)
    if accelerated:
        accelerate_and_verify(loaded, runner, backend, PagePool(pages, PAGE_SIZE))
    return assemble(runner, pages, **sizes)


def built_bench(loaded: LoadedModel, *, serial: bool = False, pages: int = 256, **sizes: int) -> Bench:
    """Starts an engine over the runner that a service would choose for `loaded`, or over the serial runner."""
    return bench_of(parts_of(loaded, serial=serial), pages=pages, **sizes)


def parts_of(loaded: LoadedModel, *, serial: bool = False) -> Parts:
    """Returns the checked parts (runner and its like) that a service would choose, or those of the serial runner."""
    settings = EngineSettings(max_sequences=8)
    make = encoder_decoder_parts if loaded.decoder_start_ids else paged_parts
    return serial_parts(loaded, settings, "As asked.") if serial else make(loaded, settings)


def bench_of(parts: Parts, *, pages: int = 256, **sizes: int) -> Bench:
    """Starts an engine over checked parts. Several engines may share parts if one runs at a time."""
    planning = {"whole_prompts": parts.whole_prompts, "shares_pages": parts.shares_pages}
    return assemble(parts.runner, min(pages, parts.pool.page_count), share=False, **planning, **sizes)


def fake_bench(runner: Any, *, pages: int = 1024, **sizes: int) -> Bench:
    """Starts an engine over a fake runner."""
    return assemble(runner, pages, **sizes)


def assemble(
    runner: Any, pages: int, *, max_sequences: int = 8, prefill_tokens: int = 64, queue: int = 1000, **more: Any
) -> Bench:
    """Starts an engine over any runner; `more` are arguments of `prepare`."""
    bench = prepare(runner, pages, max_sequences=max_sequences, prefill_tokens=prefill_tokens, queue=queue, **more)
    bench.engine.start()
    return bench


def prepare(
    runner: Any,
    pages: int,
    *,
    max_sequences: int,
    prefill_tokens: int,
    queue: int,
    share: bool = True,
    ahead: bool = False,
    streams: dict[str, int] | None = None,
    **planning: bool,
) -> Bench:
    """Returns an engine whose thread is not started.

    `share` turns on the prefix cache. `ahead` launches each step before the last one was read, with EagerLauncher.
    `streams` are arguments of GenerationEngine, `planning` those of Scheduler.
    """
    registry = CollectorRegistry()
    pool = PagePool(pages, PAGE_SIZE)
    budget = PrefillBudget(prefill_tokens, 2.0)
    scheduler = Scheduler(pool, budget, max_sequences=max_sequences, share_prefixes=share, **planning)
    admission = Admission(QueueLimits(requests=queue))
    launcher = EagerLauncher(runner) if ahead else getattr(runner, "launcher", None)
    metrics = EngineMetrics(registry)
    speculation = Speculation(pool, metrics, ahead=launcher is not None)
    modes: dict[str, Any] = {"launcher": launcher, "speculation": speculation, **(streams or {})}
    engine = GenerationEngine(runner, scheduler, pool, admission, metrics, **modes)
    return Bench(engine, scheduler, pool, runner, registry, launcher)


def build(loaded: LoadedModel, **settings: Any) -> BuiltEngine:
    """Returns the engine that a service would run, checked and not started."""
    return build_engine(loaded, EngineSettings(**settings), EngineMetrics(CollectorRegistry()))
