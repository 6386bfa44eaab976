"""`python -m benchmarks.gpu.compiled`: compiles the kernels of a GPU's steps where there is no GPU, and reports on
them.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.gpu.compiled.compiling import Draw, Launch, compiling, kernels
from benchmarks.gpu.compiled.lines import Line, lines_of, table_of
from benchmarks.gpu.compiled.models import MODELS
from benchmarks.gpu.compiled.steps import Steps
from benchmarks.options import one_of
from services.engine.generation.recorded.step_shape import Kind
from services.engine.narrow.numbers import NARROW_KINDS

_LEAST_FOR_FLOATS = 89
"""The first compute capability with 8-bit floats."""
_PROPOSED = 8
"""Tokens of a step with proposals."""
_WEIGHTS = ("wide", *NARROW_KINDS)


def main(
    model: Annotated[list[str] | None, one_of(MODELS, help="May be repeated. Default: all.")] = None,
    capability: Annotated[list[int], typer.Option(help="90 for 9.0; may be repeated.")] = [80, 89, 90, 100],  # noqa: B006
    weights: Annotated[list[str] | None, one_of(_WEIGHTS, help="Also of keys and values. Default: all.")] = None,
    rows: Annotated[list[int], typer.Option(help="Of decode steps; may be repeated.")] = [1, 32, 128],  # noqa: B006
    tokens: Annotated[int, typer.Option(min=32, max=1024, help="Of a step that reads prompts.")] = 1024,
    raced: Annotated[bool, typer.Option(help="Only the alternatives that races at load try for those rows.")] = False,
    drawn: Annotated[int, typer.Option(min=0, help="With --raced: a sample of so many tiles; 0: all.")] = 0,
    share: Annotated[int, typer.Option(min=1, help="Compiles one of so many variants of each kernel.")] = 1,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    loop_of: Annotated[
        list[str] | None, typer.Option(help="Kernel whose loop is counted, which takes a while. Default: all.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Compiles all kernels that recorded steps launch. The exit code is 1 if a kernel does not fit, or spills
    registers.
    """
    lines, launched = list[Line](), set[str]()
    for target in capability:
        for name in model or MODELS:
            for kind in weights or _WEIGHTS:
                if kind != "fp8_e4m3" or target >= _LEAST_FOR_FLOATS:
                    some, draw = partial(_some, drawn, seed), Draw(share, seed)
                    steps = _launches(target, name, kind, rows, None if raced else tokens, some, draw)
                    lines += lines_of(target, f"{name}, {kind}", steps, loop_of)
                    launched |= {launch.name for _, launches in steps for launch in launches}
    missed = sorted(kernels() - launched)
    Console(width=190).print(table_of(lines), f"launched by none of these: {', '.join(missed) or 'no kernel'}")
    if json_file is not None:
        json_file.write_text(json.dumps({"missed": missed, "lines": [line.told() for line in lines]}) + "\n")
    raise typer.Exit(any(line.binary.hindrance(line.capability) for line in lines))


def _some(drawn: int, seed: int, tiles: list[Any]) -> list[Any]:
    return Random(seed).sample(tiles, min(drawn, len(tiles))) if drawn else tiles


def _launches(
    capability: int,
    name: str,
    kind: str,
    rows: list[int],
    tokens: int | None,
    some: Callable[[list[Any]], list[Any]],
    draw: Draw,
) -> list[tuple[str, list[Launch]]]:
    """Returns each step and what it launches. Without `tokens`, these are the alternatives that races at load try, or
    `some` of them.
    """
    done: list[tuple[str, list[Launch]]] = []
    narrow = NARROW_KINDS.get(kind)
    with compiling(capability, draw) as launches:
        steps = Steps(MODELS[name](), narrow, narrow_cache=narrow is not None)
        done.append(("load", launches[:]))
        for count in rows:
            del launches[:]
            if tokens is None:
                steps.run_raced(count, some)
            else:
                steps.run(Kind.DECODING, count)
            done.append((f"{count} rows", launches[:]))
        if tokens is None:
            return done
        del launches[:]
        steps.run(Kind.PROPOSING, _PROPOSED)
        done.append((f"{_PROPOSED} proposed", launches[:]))
        del launches[:]
        steps.run(Kind.READING, tokens)
        done.append((f"{tokens} tokens", launches[:]))
    return done


if __name__ == "__main__":
    typer.run(main)
