"""`python -m benchmarks.kinds`: other kinds of models than plain decoders, against `generate` on a padded batch."""

import random
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.kinds.contenders import Generate, running
from benchmarks.kinds.shapes import SHAPES, checkpoint
from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.random_weights import SEED
from benchmarks.tables import Rows


def main(
    shape: Annotated[list[str] | None, one_of(SHAPES, help="May be repeated. Default: all.")] = None,
    dtype: Annotated[list[str], typer.Option(help="Element type; may be repeated.")] = ["bfloat16", "float32"],  # noqa: B006
    batch: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 16,
    longest: Annotated[int, typer.Option(min=2, help="Tokens of a prompt: half as many to as many.")] = 64,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens generated for each.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, after one that warms up.")] = 3,
    cache: Annotated[Path, typer.Option(help="Folder for models.")] = ROOT / ".bench",
) -> None:
    """Measures both by turns, on one thread, in tokens per second of CPU time."""
    torch.set_num_threads(1)
    table = Rows("model", "path", "generate, tokens/s", "engine, tokens/s", "the engine is … times as fast")
    for name in shape or SHAPES:
        for element in dtype:
            folder = checkpoint(name, element, cache)
            table.add(f"{name} {element}", *_measure(folder, _prompts(batch, longest), new_tokens, repeats))


def _prompts(batch: int, longest: int) -> list[list[int]]:
    chance = random.Random(SEED)
    return [[chance.randrange(300, 8000) for _ in range(chance.randint(longest // 2, longest))] for _ in range(batch)]


def _measure(folder: Path, prompts: list[list[int]], new_tokens: int, repeats: int) -> tuple[str, str, str, str]:
    """Returns the engine's path (paged or serial), tokens per second of both, and their ratio within a round."""
    generate, rounds = Generate(folder), list[tuple[float, float]]()
    with running(folder) as engine:
        for _ in range(repeats + 1):
            rounds.append((generate.run(prompts, new_tokens), engine.run(prompts, new_tokens)))
    plain, own = (median(seconds) for seconds in zip(*rounds[1:], strict=True))
    tokens, ratios = len(prompts) * new_tokens, [one / other for one, other in rounds[1:]]
    faster = f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    return engine.path, f"{tokens / plain:.0f}", f"{tokens / own:.0f}", faster


if __name__ == "__main__":
    typer.run(main)
