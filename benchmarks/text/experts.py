"""`python -m benchmarks.text.experts`: an MoE layer on the CPU, by the native library and by transformers."""

import time
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

from services.engine.fusion.experts import FusedExperts
from services.engine.native.arena import Arena
from services.engine.native.library import load_library

_ROUNDS = 25


def main(
    hidden: Annotated[int, typer.Option()] = 512,
    inner: Annotated[int, typer.Option(help="Width within an expert.")] = 1024,
    experts: Annotated[int, typer.Option()] = 8,
    choices: Annotated[int, typer.Option(help="Experts of a row.")] = 2,
    rows: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 4, 16, 32],  # noqa: B006
    dtype: Annotated[str, typer.Option()] = "float32",
) -> None:
    """Prints milliseconds of CPU time of one thread, with both measured by turns."""
    torch.set_num_threads(1)
    config = MixtralConfig(hidden_size=hidden, intermediate_size=inner, num_local_experts=experts)
    config._experts_implementation = "grouped_mm"
    own, given = _experts(config, dtype), _experts(config, dtype)
    library = load_library()
    assert library is not None
    ours = FusedExperts(given, library, Arena())
    table = Table("rows", "transformers", "ours", "times")
    for count in rows:
        times: list[list[float]] = [[], []]
        for _ in range(_ROUNDS):
            shares, chosen = torch.rand(count, experts).topk(choices)
            inputs = torch.randn(count, hidden, dtype=own.down_proj.dtype), chosen, shares.to(own.down_proj.dtype)
            for module, found in zip((own, ours), times, strict=True):
                found.append(_seconds(module, inputs))
        theirs, mine = (median(found) for found in times)
        table.add_row(str(count), f"{theirs * 1e3:.2f}", f"{mine * 1e3:.2f}", f"{theirs / mine:.1f}")
    Console().print(table)


def _experts(config: MixtralConfig, dtype: str) -> Any:
    made = MixtralExperts(config).to(getattr(torch, dtype))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.05)
    return made


@torch.inference_mode()
def _seconds(module: Any, inputs: tuple[torch.Tensor, ...]) -> float:
    began = time.thread_time()
    module(*inputs)
    return time.thread_time() - began


if __name__ == "__main__":
    typer.run(main)
