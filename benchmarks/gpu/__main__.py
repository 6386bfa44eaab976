"""`python -m benchmarks.gpu`: decoding and prompts on one GPU, compared with transformers and with the hardware's
limits.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.gpu import ceilings
from benchmarks.gpu.asked import WISHES, WISHING, kinds_asked
from benchmarks.gpu.measurement import Measurement, Sizes, Workload
from benchmarks.gpu.report import Report
from benchmarks.gpu.shapes import DEFAULT, SHAPES
from benchmarks.options import one_of
from services.engine.fusion.triton import launch
from services.engine.generation.attention.backend import register
from services.engine.narrow.numbers import NARROW_KINDS

WORK = ["1x1024", "8x1024", "32x1024", "128x1024", "1x8192", "8x8192"]
Quantization = Annotated[str | None, one_of(NARROW_KINDS, help="The engine's weights; transformers keeps its own.")]
Drawn = Annotated[
    bool, typer.Option("--drawn", help="Also with sampling: temperature 0.8, top-k 50, top-p 0.95, a seed per row.")
]
Wishing = Annotated[list[str], one_of(WISHING, help="Rows with the wishes: one or all; may be repeated.")]


def main(
    shape: Annotated[list[str] | None, one_of(SHAPES, help="May be repeated. Default: 1B and 8B.")] = None,
    work: Annotated[list[str], typer.Option(help="ROWSxPROMPT_TOKENS; may be repeated.")] = WORK,
    steps: Annotated[int, typer.Option(min=1, help="Tokens decoded for each row.")] = 64,
    generate_steps: Annotated[int, typer.Option(min=0, help="The same for generate; 0 leaves it out.")] = 16,
    together_steps: Annotated[int, typer.Option(min=2, help="The same for the whole engine.")] = 384,
    chunk: Annotated[int, typer.Option(min=1, help="Most prompt tokens of a step.")] = 8192,
    quantization: Quantization = None,
    drawn: Drawn = False,
    wishes: Annotated[list[str] | None, one_of(WISHES, help="Also with requests for this; may be repeated.")] = None,
    wishing: Wishing = ["one"],  # noqa: B006
    peers: Annotated[bool, typer.Option(help="Measure transformers, too.")] = True,
    kernels: Annotated[bool, typer.Option("--kernels", help="Also profile the kernels of recorded steps.")] = False,
    quick: Annotated[bool, typer.Option(help="The small shape, batches of 1 and 32.")] = False,
    seconds: Annotated[float, typer.Option(help="No new measurement begins after this time.")] = 540,
    json: Annotated[Path | None, typer.Option(help="File for all figures, written as soon as they are known.")] = None,
    apart: Annotated[bool, typer.Option(help="Kernels do not overlap: each waits for the one before.")] = False,
) -> None:
    """Measures in process, without a server: the engine's runner, its recorded steps, and the whole engine.

    If a measurement fails, it is reported and the others go on; the exit code is 1 then.
    """
    if not torch.cuda.is_available():
        sys.exit("This needs a GPU, and torch sees none.")
    ends, console = time.monotonic() + seconds, Console(width=180)
    names = ["1B"] if quick else shape or DEFAULT
    works = [_workload(each) for each in (["1x1024", "32x1024"] if quick else work)]
    kind = NARROW_KINDS[quantization] if quantization else None
    asked = kinds_asked(drawn, wishes or (), wishing)
    sizes = Sizes(steps, generate_steps, together_steps, chunk, kernels, kind, asked, peers)
    launch.overlapping = not apart
    register()
    report = Report(ceilings.measure(), json)
    for i, name in enumerate(names):
        left = ends - time.monotonic()
        if left > 0:
            Measurement(name, sizes, report, console).run(works, time.monotonic() + left / (len(names) - i))
    report.show(console)
    raise typer.Exit(bool(report.failures))


def _workload(given: str) -> Workload:
    rows, tokens = given.split("x")
    return int(rows), int(tokens)


if __name__ == "__main__":
    typer.run(main)
