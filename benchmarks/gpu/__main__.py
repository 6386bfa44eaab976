"""`python -m benchmarks.gpu`: decoding and reading on one GPU, beside `generate` and what the hardware allows."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.gpu.ceilings import Ceilings, Work, measure
from benchmarks.gpu.contenders import Rates, prompts, run_engine, run_generate
from benchmarks.gpu.report import Line, Report
from benchmarks.gpu.shapes import SHAPES, make
from services.engine.generation.attention.backend import IMPLEMENTATION, register
from services.engine.generation.build import paged_parts
from services.engine.generation.parts import EngineSettings, Parts
from services.engine.generation.runner import ModelRunner
from services.engine.loading import LoadedModel

ShapeName = StrEnum("ShapeName", {name: name for name in SHAPES})
_CACHE = 24 << 30


def main(
    shape: Annotated[list[ShapeName] | None, typer.Option(help="May be repeated. Default: all.")] = None,
    batch: Annotated[list[int], typer.Option(help="Rows; may be repeated.")] = [1, 8, 32, 128],  # noqa: B006
    context: Annotated[list[int], typer.Option(help="Tokens of a prompt; may be repeated.")] = [1024],  # noqa: B006
    steps: Annotated[int, typer.Option(min=1, help="Tokens decoded for each row.")] = 64,
    generate_steps: Annotated[int, typer.Option(min=0, help="The same of generate; 0 leaves it out.")] = 16,
    chunk: Annotated[int, typer.Option(min=1, help="Prompt tokens of a step.")] = 8192,
    quick: Annotated[bool, typer.Option(help="The small shape, batches of 1 and 32.")] = False,
    seconds: Annotated[float, typer.Option(help="No new measurement begins after this time.")] = 540,
    json: Annotated[Path | None, typer.Option(help="Where all figures are written.")] = None,
) -> None:
    """Measures in process, without a server: the engine's runner with its attention and its recorded steps."""
    ends, console = time.monotonic() + seconds, Console(width=140)
    names = ["1B"] if quick else [str(name) for name in shape or SHAPES]
    batches = [1, 32] if quick else batch
    register()
    report = Report(measure(), [], {})
    for name in names:
        if time.monotonic() < ends:
            _measure_model(name, batches, context, (steps, generate_steps, chunk), ends, report, console)
            if json is not None:
                report.write(json)
    report.show(console)


def _measure_model(
    name: str,
    batches: list[int],
    contexts: list[int],
    sizes: tuple[int, int, int],
    ends: float,
    report: Report,
    console: Console,
) -> None:
    began = time.monotonic()
    loaded = make(name, torch.device("cuda:0"))
    made = time.monotonic()
    with torch.inference_mode():
        parts = paged_parts(loaded, EngineSettings(max_sequences=max(batches), cache_bytes=_CACHE))
    report.notes[name] = _note(parts, made - began, time.monotonic() - made)
    console.print(f"{name}: {report.notes[name]}")
    for context in contexts:
        for rows in batches:
            if time.monotonic() < ends:
                report.lines.append(_measure_batch(name, loaded, parts, rows, context, sizes, report.ceilings))
                console.print(report.lines[-1])


def _measure_batch(
    name: str,
    loaded: LoadedModel,
    parts: Parts,
    rows: int,
    context: int,
    sizes: tuple[int, int, int],
    ceilings: Ceilings,
) -> Line:
    steps, generate_steps, chunk = sizes
    asked, work = prompts(rows, context, loaded.vocabulary_size), Work.of(loaded.model.config)
    loaded.model.set_attn_implementation(IMPLEMENTATION)
    run_engine(parts, asked, 2, chunk)
    engine = run_engine(parts, asked, steps, chunk)
    generate = _generate(loaded, asked, generate_steps)
    reading = work.prompt_flops(rows, context) / engine.prompt_seconds
    return Line(
        name,
        rows,
        context,
        engine_decode=rows / engine.step_seconds,
        roofline_decode=rows / work.decode_seconds(ceilings, rows, context + steps // 2),
        generate_decode=rows / generate.step_seconds if generate else 0.0,
        engine_prompt=rows * context / engine.prompt_seconds,
        generate_prompt=rows * context / generate.prompt_seconds if generate else 0.0,
        prompt_share=reading / ceilings.matmul_flops,
    )


def _generate(loaded: LoadedModel, asked: list[list[int]], steps: int) -> Rates | None:
    if not steps:
        return None
    try:
        run_generate(loaded, asked[:1], 2)
        return run_generate(loaded, asked, steps)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def _note(parts: Parts, making: float, building: float) -> str:
    runner = parts.runner
    assert isinstance(runner, ModelRunner)
    recorded = "recorded" if runner.recorded is not None else "not recorded"
    attention = type(runner.backend).__name__
    return f"{attention}, decode steps {recorded}; made in {making:.1f} s, checked and recorded in {building:.1f} s"


if __name__ == "__main__":
    typer.run(main)
