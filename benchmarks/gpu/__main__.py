"""`python -m benchmarks.gpu`: decoding and reading on one GPU, beside transformers and what the hardware allows."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.gpu.ceilings import Work, measure
from benchmarks.gpu.engine import requests_of, run_requests
from benchmarks.gpu.peers import run_continuous, run_generate
from benchmarks.gpu.profile import write_profile
from benchmarks.gpu.report import Line, Report
from benchmarks.gpu.runner import Rates, prompts, run_engine
from benchmarks.gpu.shapes import DEFAULT, SHAPES, make
from benchmarks.options import one_of
from services.engine.fusion.triton import launch
from services.engine.generation.attention.backend import IMPLEMENTATION, register
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from services.engine.narrow.model import narrow_weights
from services.engine.narrow.numbers import NARROW_KINDS, NarrowKind

_CACHE = 24 << 30
_CONTINUOUS_STEPS = 96
_TOGETHER = 32
"""Rows at which it is compared with transformers' continuous batching."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    steps: int
    generate_steps: int
    together_steps: int
    chunk: int
    profiles: Path | None
    kind: NarrowKind | None
    """Of the weights, where they are narrow."""
    drawn: bool
    """Whether the requests of the whole engine are."""


@dataclass(frozen=True)
class Peers:
    """What transformers does on one workload."""

    generate: Rates | None = None
    continuous: float = 0.0


Workload = tuple[int, int]
"""Rows, and tokens of each prompt."""


def main(
    shape: Annotated[list[str] | None, one_of(SHAPES, help="May be repeated. Default: 1B and 8B.")] = None,
    work: Annotated[list[str], typer.Option(help="ROWSxTOKENS of a prompt; may be repeated.")] = [  # noqa: B006
        "1x1024", "8x1024", "32x1024", "128x1024", "1x8192", "8x8192"
    ],
    steps: Annotated[int, typer.Option(min=1, help="Tokens decoded for each row.")] = 64,
    generate_steps: Annotated[int, typer.Option(min=0, help="The same of generate; 0 leaves it out.")] = 16,
    together_steps: Annotated[int, typer.Option(min=2, help="The same of whole engines.")] = 384,
    chunk: Annotated[int, typer.Option(min=1, help="Prompt tokens of a step.")] = 8192,
    quantization: Annotated[
        str | None, one_of(NARROW_KINDS, help="The engine's weights; transformers keeps its own.")
    ] = None,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Whole engines draw: temperature 0.8, top-k 50, top-p 0.95, own seeds.")
    ] = False,
    quick: Annotated[bool, typer.Option(help="The small shape, batches of 1 and 32.")] = False,
    seconds: Annotated[float, typer.Option(help="No new measurement begins after this time.")] = 540,
    json: Annotated[Path | None, typer.Option(help="Where all figures are written.")] = None,
    apart: Annotated[bool, typer.Option(help="A kernel begins only when the one before it has ended.")] = False,
    profiles: Annotated[Path | None, typer.Option(help="Folder for the kernels of decode steps.")] = None,
) -> None:  # fmt: skip
    """Measures in process, without a server: the engine's runner, and the whole engine."""
    if not torch.cuda.is_available():
        sys.exit("This needs a GPU, and torch sees none.")
    ends, console = time.monotonic() + seconds, Console(width=160)
    names = ["1B"] if quick else shape or DEFAULT
    works = [_workload(each) for each in (["1x1024", "32x1024"] if quick else work)]
    kind = NARROW_KINDS[quantization] if quantization else None
    sizes = Sizes(steps, generate_steps, together_steps, chunk, profiles, kind, drawn)
    launch.overlapping = not apart
    register()
    report = Report(measure(), [], {})
    for i, name in enumerate(names):
        left = ends - time.monotonic()
        if left > 0:
            _measure_model(name, works, sizes, time.monotonic() + left / (len(names) - i), report, console)
            if json is not None:
                report.write(json)
    report.show(console)


def _workload(given: str) -> Workload:
    rows, tokens = given.split("x")
    return int(rows), int(tokens)


def _measure_model(
    name: str, works: list[Workload], sizes: Sizes, ends: float, report: Report, console: Console
) -> None:
    """Measures transformers first: a model that was sped up cannot be run by it any more."""
    began = time.monotonic()
    loaded = make(name, torch.device("cuda:0"))
    made = time.monotonic()
    peers = _measure_peers(loaded, works, sizes, made + (ends - made) / 2)
    if sizes.kind:
        narrow_weights(loaded.model, sizes.kind, loaded.device)
        torch.cuda.empty_cache()
    settings = EngineSettings(
        max_sequences=max(rows for rows, _ in works), cache_bytes=_CACHE, prefill_tokens=sizes.chunk,
        share_prefixes=False,
    )  # fmt: skip
    built = time.monotonic()
    with torch.inference_mode():
        parts = paged_parts(loaded, settings)
    report.notes[name] = _note(loaded, parts, made - began, time.monotonic() - built)
    console.print(f"{name}: {report.notes[name]}")
    for rows, context in works:
        if time.monotonic() < ends:
            asked = prompts(rows, context, loaded.vocabulary_size)
            line = _measure(name, loaded, parts, settings, asked, sizes, peers.get((rows, context), Peers()), report)
            report.lines.append(line)
            console.print(line)


def _measure_peers(loaded: LoadedModel, works: list[Workload], sizes: Sizes, ends: float) -> dict[Workload, Peers]:
    found: dict[Workload, Peers] = {}
    for rows, context in sorted(works, key=lambda work: work[0] != _TOGETHER):
        if time.monotonic() < ends:
            asked, steps = prompts(rows, context, loaded.vocabulary_size), sizes.generate_steps
            generate = run_generate(loaded, asked, steps) if steps else None
            together = rows == _TOGETHER
            continuous = run_continuous(loaded, asked, _CONTINUOUS_STEPS) if together else 0.0
            found[rows, context] = Peers(generate, continuous)
    return found


def _measure(
    name: str,
    loaded: LoadedModel,
    parts: Parts,
    settings: EngineSettings,
    asked: list[list[int]],
    sizes: Sizes,
    peers: Peers,
    report: Report,
) -> Line:
    rows, context, steps = len(asked), len(asked[0]), sizes.steps
    work = Work.of(loaded.model.config, narrow=sizes.kind is not None)
    ceilings, generate = report.ceilings, peers.generate
    loaded.model.set_attn_implementation(IMPLEMENTATION)
    run_engine(parts, asked, 2, sizes.chunk)
    engine = run_engine(parts, asked, steps, sizes.chunk)
    requests = requests_of(asked, sizes.together_steps, drawn=sizes.drawn)
    together, idle = run_requests(loaded, parts, settings, requests)
    if sizes.profiles is not None and rows in (1, _TOGETHER) and context < 2048:
        write_profile(sizes.profiles / f"profile-{name}-{rows}.txt", parts, asked, sizes.chunk)
    return Line(
        name,
        rows,
        context,
        engine_decode=rows / engine.step_seconds,
        roofline_decode=rows / work.decode_seconds(ceilings, rows, context + steps // 2),
        together_decode=together.tokens_per_second,
        together_roofline=rows / work.decode_seconds(ceilings, rows, context + round(together.tokens_before)),
        idle_share=idle,
        generate_decode=rows / generate.step_seconds if generate else 0.0,
        continuous_decode=peers.continuous,
        engine_prompt=rows * context / engine.prompt_seconds,
        generate_prompt=rows * context / generate.prompt_seconds if generate else 0.0,
        prompt_share=work.prompt_flops(rows, context) / engine.prompt_seconds / ceilings.matmul_flops,
    )


def _note(loaded: LoadedModel, parts: Parts, making: float, building: float) -> str:
    runner = parts.runner
    assert isinstance(runner, ModelRunner)
    recorded = "recorded" if runner.recorded is not None else "not recorded"
    attention, allowed = type(runner.backend).__name__, runner.allowed_error
    kinds = [type(module).__name__ for module in loaded.model.modules()]
    fused = f"{kinds.count('GpuDecoderLayer')} layers and {kinds.count('GpuExperts')} times experts by kernels"
    held = loaded.model.get_memory_footprint() / 1e9
    return (
        f"{held:.2f} GB of weights, {attention}, {fused}, decode steps {recorded}, error of "
        f"{allowed:.2g} allowed; made in {making:.1f} s, checked and recorded in {building:.1f} s"
    )


if __name__ == "__main__":
    typer.run(main)
