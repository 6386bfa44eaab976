"""Measures one model: transformers, the engine's runner, its recorded steps alone, and the whole engine, for each
workload.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from torch import nn

from benchmarks.gpu.alone import Bench
from benchmarks.gpu.asked import Asked
from benchmarks.gpu.ceilings import Work
from benchmarks.gpu.engine import run_requests
from benchmarks.gpu.kernels import table_of_kernels
from benchmarks.gpu.peers import run_continuous, run_generate
from benchmarks.gpu.report import AskedLine, Line, Report
from benchmarks.gpu.runner import Rates, prompts, run_engine
from benchmarks.gpu.shapes import make
from services.engine.generation.attention.backend import IMPLEMENTATION
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.narrow.model import narrow_weights
from services.engine.narrow.numbers import NarrowKind

_CACHE = 24 << 30
_CONTINUOUS_STEPS = 96
_OF_KERNELS = 0.2
"""Share of the time left after steps alone that is kept for the profiler. It comes last, as it may slow down others."""
_TOGETHER = 32
"""Number of rows at which the engine is compared with transformers' continuous batching."""

Workload = tuple[int, int]
"""Number of rows, and tokens of each prompt."""


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how much."""

    steps: int
    generate_steps: int
    together_steps: int
    chunk: int
    kernels: bool
    """Whether recorded steps are profiled."""
    kind: NarrowKind | None
    """Of 8-bit weights; None for bfloat16."""
    asked: list[Asked]
    """Kinds of requests to the whole engine, besides greedy ones."""
    peers: bool = True
    """Whether transformers is measured."""


@dataclass(frozen=True)
class Peers:
    """Results of transformers for one workload."""

    generate: Rates | None = None
    continuous: float = 0.0


@dataclass(frozen=True)
class Engine:
    """A model that was accelerated, checked and recorded."""

    loaded: LoadedModel
    parts: Parts
    settings: EngineSettings
    bench: Bench

    def answered(self, name: str, requests: list[GenerationRequest]) -> AskedLine:
        """Returns how fast the whole engine decodes these requests."""
        together, idle = run_requests(self.loaded, self.parts, self.settings, requests)
        rows = len(requests)
        context = len(requests[0].prompt_token_ids) + round(together.tokens_before)
        roofline = rows / self.bench.work.decode_seconds(self.bench.ceilings, rows, context)
        return AskedLine(name, together.tokens_per_second, roofline, idle)


@dataclass
class Measurement:
    """The measurement of one model."""

    name: str
    sizes: Sizes
    report: Report
    console: Console

    def run(self, works: list[Workload], ends: float) -> None:
        """Measures transformers first, since it cannot run an accelerated model. No new measurement begins after
        `ends`.

        Then it takes the most important measurement of all workloads, then the next one of all, and so on.
        """
        began = time.monotonic()
        loaded = make(self.name, torch.device("cuda:0"))
        made = time.monotonic()
        peers = self._peers(loaded, works, made + (ends - made) / 2) if self.sizes.peers else {}
        built = time.monotonic()
        engine = self._built(loaded, max(rows for rows, _ in works))
        note = _note(engine, made - began, time.monotonic() - built)
        self.report.notes[self.name] = note
        self.console.print(f"{self.name}: {note}")
        for rows, context in works:
            if time.monotonic() < ends:
                with self.report.attempt(f"{self.name}, {rows} at {context}"):
                    given = prompts(rows, context, loaded.vocabulary_size)
                    self._measure(engine, given, peers.get((rows, context), Peers()))
        lines = [line for line in self.report.lines if line.model == self.name]
        for line in lines:
            if time.monotonic() < ends:
                self._alone(engine, line, kernels=False)
        left = ends - time.monotonic()
        asked_until = ends - left * _OF_KERNELS if self.sizes.kernels else ends
        for line in lines:
            for asked in self.sizes.asked:
                if time.monotonic() < asked_until:
                    with self.report.attempt(f"{self.name}, {asked.name}, {line.batch} at {line.context}"):
                        self._asked(engine, line, asked)
        for line in lines if self.sizes.kernels else ():
            if time.monotonic() < ends:
                self._alone(engine, line, kernels=True)

    def _built(self, loaded: LoadedModel, rows: int) -> Engine:
        kind, chunk = self.sizes.kind, self.sizes.chunk
        work = Work.of(loaded.model.config, narrow=kind is not None)
        if kind:
            narrow_weights(loaded.model, kind, loaded.device)
            torch.cuda.empty_cache()
        settings = EngineSettings(max_sequences=rows, cache_bytes=_CACHE, prefill_tokens=chunk, share_prefixes=False)
        with torch.inference_mode():
            parts = paged_parts(loaded, settings)
        loaded.model.set_attn_implementation(IMPLEMENTATION)
        narrow = kind is not None
        bench = Bench(parts, loaded.model.config, work, self.report.ceilings, chunk, narrow)
        return Engine(loaded, parts, settings, bench)

    def _peers(self, loaded: LoadedModel, works: list[Workload], ends: float) -> dict[Workload, Peers]:
        found: dict[Workload, Peers] = {}
        for rows, context in sorted(works, key=lambda work: work[0] != _TOGETHER):
            if time.monotonic() < ends:
                asked, steps = prompts(rows, context, loaded.vocabulary_size), self.sizes.generate_steps
                with self.report.attempt(f"{self.name}, transformers on {rows} at {context}"):
                    generate = run_generate(loaded, asked, steps) if steps else None
                    together = rows == _TOGETHER
                    continuous = run_continuous(loaded, asked, _CONTINUOUS_STEPS) if together else 0.0
                    found[rows, context] = Peers(generate, continuous)
        return found

    def _measure(self, engine: Engine, given: list[list[int]], peers: Peers) -> None:
        rows, context, sizes = len(given), len(given[0]), self.sizes
        bench, generate = engine.bench, peers.generate
        run_engine(engine.parts, given, 2, sizes.chunk)
        runner = run_engine(engine.parts, given, sizes.steps, sizes.chunk)
        requests = Asked().requests(given, sizes.together_steps, engine.loaded.vocabulary_size)
        greedy = engine.answered("greedy", requests)
        line = Line(
            self.name,
            rows,
            context,
            engine_decode=rows / runner.step_seconds,
            roofline_decode=rows / bench.work.decode_seconds(bench.ceilings, rows, context + sizes.steps // 2),
            together_decode=greedy.decode,
            together_roofline=greedy.roofline,
            idle_share=greedy.idle_share,
            generate_decode=rows / generate.step_seconds if generate else 0.0,
            continuous_decode=peers.continuous,
            engine_prompt=rows * context / runner.prompt_seconds,
            generate_prompt=rows * context / generate.prompt_seconds if generate else 0.0,
            prompt_share=bench.work.prompt_flops(rows, context) / runner.prompt_seconds / bench.ceilings.matmul_flops,
        )
        self.report.lines.append(line)
        self.report.write()
        self.console.print(line)

    def _alone(self, engine: Engine, line: Line, *, kernels: bool) -> None:
        vocabulary = engine.loaded.vocabulary_size
        requests = Asked().requests(prompts(line.batch, line.context, vocabulary), 2, vocabulary)
        with self.report.attempt(f"{self.name}, steps alone of {line.batch} at {line.context}"):
            if not kernels:
                line.alone.extend(engine.bench.alone(requests))
            for i, step in enumerate(line.alone if kernels else ()):
                line.alone[i] = engine.bench.with_kernels(step, requests)
                self.console.print(table_of_kernels(line.alone[i].kernels, f"{self.name}, {step.name}"))
            self.report.write()

    def _asked(self, engine: Engine, line: Line, asked: Asked) -> None:
        vocabulary = engine.loaded.vocabulary_size
        given = prompts(line.batch, line.context, vocabulary)
        requests = asked.requests(given, self.sizes.together_steps, vocabulary)
        found = engine.answered(asked.name, requests)
        with self.report.attempt(f"{self.name}, {asked.name}, steps alone of {line.batch} at {line.context}"):
            found = replace(found, step=engine.bench.chosen_seconds(requests))
        line.asked.append(found)
        self.report.write()
        self.console.print(found)


def _any_of(model: nn.Module, name: str) -> set[int]:
    """Returns the numbers that any module of the model holds under this name."""
    found: list[Any] = [getattr(module, name, ()) for module in model.modules()]
    return set[int]().union(*found)


def _note(engine: Engine, making: float, building: float) -> str:
    model, runner = engine.loaded.model, engine.parts.runner
    assert isinstance(runner, ModelRunner)
    recorded = "recorded" if runner.recorded is not None else "not recorded"
    attention, allowed = type(runner.backend).__name__, runner.allowed_error
    if (tiles := getattr(runner.backend, "tiles", None)) is not None:
        attention = f"{attention} with {tiles}"
    if left := _any_of(model, "unsummed_tiles"):
        attention += f", sums of up to {max(left)} rows left to their readers"
    if merged := _any_of(model, "merged_groups"):
        attention += f", steps of up to {max(merged)} rows begun by one kernel"
    kinds = [type(module).__name__ for module in model.modules()]
    fused = f"{kinds.count('GpuDecoderLayer')} layers and {kinds.count('GpuExperts')} times experts by kernels"
    held = model.get_memory_footprint() / 1e9
    return (
        f"{held:.2f} GB of weights, {attention}, {fused}, decode steps {recorded}, error of "
        f"{allowed:.2g} allowed; made in {making:.1f} s, checked and recorded in {building:.1f} s"
    )
