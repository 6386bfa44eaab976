"""`python -m benchmarks.gpu.experts`: our kernels for experts against transformers' `grouped_mm` and `batched_mm`."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from benchmarks.gpu.ceilings import seconds_of
from benchmarks.gpu.shapes import SHAPES
from benchmarks.options import one_of
from services.engine.experts import is_experts
from services.engine.fusion.triton.experts import GpuExperts
from services.engine.narrow.experts import NarrowExperts

GPU = torch.device("cuda:0")
_LAYERS = 4
"""Several, so that weights come from memory, not from a cache."""
_SHAPES = ("8x1B", "128x110M")
"""The shapes with experts."""


def main(
    shape: Annotated[list[str] | None, one_of(_SHAPES, help="May be repeated. Default: all.")] = None,
    rows: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 4, 16, 64, 256],  # noqa: B006
) -> None:
    """Prints microseconds for one layer's experts, and the rate at which our kernels read weights."""
    table = Table("shape", "rows", "grouped_mm", "batched_mm", "ours", "GB/s", "int8", "GB/s", "fp8_e4m3", "GB/s")
    for name in shape or _SHAPES:
        for count in rows:
            table.add_row(name, str(count), *_measure(name, count))
    Console(width=160).print(table)


@torch.inference_mode()
def _measure(shape: str, count: int) -> list[str]:
    layers, config = _layers(shape)
    rows = torch.randn(count, config.hidden_size, dtype=torch.bfloat16, device=GPU)
    logits = torch.rand(count, config.num_local_experts, device=GPU)
    shares, chosen = logits.topk(config.num_experts_per_tok)
    given = rows, chosen, shares.to(rows.dtype)
    found: list[str] = []
    for implementation in ("grouped_mm", "batched_mm"):
        config._experts_implementation = implementation
        found.append(_told(layers, given))
    share = len(chosen.unique()) / config.num_local_experts
    for kind in (None, "int8", "fp8_e4m3"):
        own = [NarrowExperts(layer, kind, GPU) if kind else layer for layer in layers]
        read = share * sum(each.numel() * each.element_size() for each in own[0].parameters())
        kernels = [GpuExperts(layer) for layer in own]
        seconds = _seconds(kernels, given)
        found += [f"{seconds * 1e6:.0f}", f"{read / seconds / 1e9:.0f}"]
        for layer in own if kind else []:  # for the next kind
            layer.lend(layer.first.widened(), layer.last.widened())
    return found


def _layers(shape: str) -> tuple[list[Any], Any]:
    config: Any = SHAPES[shape]()
    config.num_hidden_layers, config.vocab_size = _LAYERS, 8
    with torch.device(GPU):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    layers = [module for module in model.modules() if is_experts(module)]
    return layers, layers[0].config


def _told(layers: list[Any], given: tuple[Tensor, ...]) -> str:
    try:
        return f"{_seconds(layers, given) * 1e6:.0f}"
    except Exception:  # it cannot be recorded, or does not fit into memory
        return "–"


def _seconds(layers: Sequence[nn.Module], given: tuple[Tensor, ...]) -> float:
    """Returns the seconds of one layer, from a recording of all: launching each would take longer than it runs."""

    def run() -> None:
        for layer in layers:
            layer(*given)

    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return seconds_of(graph.replay) / len(layers)


if __name__ == "__main__":
    typer.run(main)
