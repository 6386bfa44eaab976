"""`python -m benchmarks.gpu.adapters`: steps whose rows use no adapter, one or several, in one forward and in two."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import PreTrainedModel

from benchmarks.gpu import ceilings
from benchmarks.gpu.alone import Bench
from benchmarks.gpu.asked import Asked
from benchmarks.gpu.ceilings import Work
from benchmarks.gpu.runner import prompts, run_engine
from benchmarks.gpu.shapes import DEFAULT, make
from benchmarks.options import one_of
from services.engine.adapters.beside import AdaptersBeside, NamedAdapter
from services.engine.adapters.pairs import Pair
from services.engine.generation.attention.backend import IMPLEMENTATION, register
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings, Parts

_GPU = torch.device("cuda:0")
_CACHE, _CHUNK, _STEPS = 12 << 30, 8192, 24


def main(
    shape: Annotated[str, one_of(DEFAULT, help="Model, with adapters of all its layers.")] = "8B",
    rows: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 32],  # noqa: B006
    prompt: Annotated[int, typer.Option(min=2, help="Tokens of each prompt.")] = 1024,
    adapters: Annotated[int, typer.Option(min=1, help="Beside the model.")] = 8,
    rank: Annotated[int, typer.Option(min=1, help="Of each.")] = 16,
) -> None:
    """Prints microseconds: of recorded steps alone, and of the runner's steps including reading their tokens."""
    if not torch.cuda.is_available():
        sys.exit("This needs a GPU, and torch sees none.")
    register()
    loaded = make(shape, _GPU)
    beside = adapters_beside(loaded.model, adapters, rank)
    loaded = replace(loaded, adapters=beside)
    with torch.inference_mode():
        parts = paged_parts(loaded, EngineSettings(max(rows), _CHUNK, cache_bytes=_CACHE, share_prefixes=False))
    loaded.model.set_attn_implementation(IMPLEMENTATION)
    if not beside.joined:
        sys.exit("Rows with and without adapters cannot share steps here: the log says why.")
    config = loaded.model.config
    bench = Bench(parts, config, Work.of(config), ceilings.measure(), _CHUNK, narrow=False)
    table = Table("rows", "adapters", "step alone", "reading alone", "step", "step, split")
    for count in rows:
        given = prompts(count, prompt, loaded.vocabulary_size)
        for named in sorted({0, 1, min(adapters, count)}):
            names = [str(i % named) if named else "" for i in range(count)]
            asked = Asked().requests(given, 2, loaded.vocabulary_size)
            alone = bench.alone([replace(each, adapter=name) for each, name in zip(asked, names, strict=True)])
            least = {step.kind: _told(step.least) for step in alone}
            table.add_row(
                str(count), str(named), least.get("decoding", "–"), least.get("reading", "–"),
                *(_told(seconds) for seconds in _steps(parts, beside, given, names)),
            )  # fmt: skip
    Console(width=120).print(table)


def _steps(parts: Parts, beside: AdaptersBeside, given: list[list[int]], names: list[str]) -> Iterator[float]:
    """Yields the seconds of a step whose rows with adapters share the forward, and of one where they have their own."""
    for shared in (True, False):
        beside.joined = shared
        run_engine(parts, given, 2, _CHUNK, names)
        yield run_engine(parts, given, _STEPS, _CHUNK, names).step_seconds
    beside.joined = True


def adapters_beside(model: PreTrainedModel, count: int, rank: int) -> AdaptersBeside:
    """Returns adapters with random weights that change all linear layers but the head, named by their numbers."""
    beside, head = AdaptersBeside(model), model.get_output_embeddings()
    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and layer is not head
    }
    for number in range(count):
        beside.add(NamedAdapter(str(number), ""), {name: _pair(layer, rank) for name, layer in layers.items()})
    return beside


def _pair(layer: nn.Linear, rank: int) -> Pair:
    first = torch.randn(rank, layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device)
    second = torch.randn(layer.out_features, rank, dtype=layer.weight.dtype, device=layer.weight.device)
    return Pair(first / layer.in_features**0.5, second / (20 * rank**0.5))


def _told(seconds: float) -> str:
    return f"{seconds * 1e6:.0f}"


if __name__ == "__main__":
    typer.run(main)
