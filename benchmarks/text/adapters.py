"""`python -m benchmarks.text.adapters`: CPU cost of requests with unmerged adapters, measured in this process.

Callers send requests with 64 tokens in and 64 out. By turns they name no adapter, all the same one, different ones, or
half of them one; the baseline is an engine without adapters, which costs as much as one with a merged adapter.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.bare_engine import started
from benchmarks.gpu.adapters import adapters_beside
from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.tables import Rows
from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.in_process_caller import InProcessCaller
from benchmarks.text.load import Amount, closed_loop
from benchmarks.text.workload import WORKLOADS
from services.engine.generation.building.build import BuiltEngine
from services.engine.generation.building.parts import EngineSettings
from services.engine.loading import LoadedModel, load_language_model

_REQUESTS = 2
"""Requests per caller in a turn."""
_CACHE = 256 << 20  # bytes of KV cache per engine


def _rate(loaded: LoadedModel, built: BuiltEngine, names: Sequence[str], callers: int) -> float:
    """Returns tokens per second of CPU time."""
    caller, began = InProcessCaller(loaded, built, names), time.process_time()
    prompt = partial(WORKLOADS["64/64"].prompt, callers)
    asyncio.run(closed_loop(caller, prompt, callers, Amount(0.0, _REQUESTS * callers)))
    return caller.tokens / (time.process_time() - began)


def main(
    callers: Annotated[int, typer.Option(min=1, help="At a time.")] = 16,
    adapters: Annotated[int, typer.Option(min=2, help="Beside the model.")] = 8,
    rank: Annotated[int, typer.Option(min=1, help="Of each, in all layers.")] = 16,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    shape: Annotated[str, one_of(SHAPES, help="Model.")] = "wide",
    cache: Annotated[Path, typer.Option(help="Folder for models.")] = ROOT / ".bench",
) -> None:
    """Prints each line's median rate over all rounds, and its share of the first line's rate in the same round."""
    torch.set_num_threads(1)
    model = str(checkpoint(SHAPES[shape], cache))
    plain, base = (
        load_language_model(model, revision=None, device=torch.device("cpu"), dtype="auto") for _ in range(2)
    )
    beside = replace(base, adapters=adapters_beside(base.model, adapters, rank))
    every = [str(number) for number in range(adapters)]
    lines = {
        "none beside the model": (plain, [""]), "none named": (beside, [""]), "all name one": (beside, every[:1]),
        f"{adapters // 2} named": (beside, every[: adapters // 2]), f"{adapters} named": (beside, every),
        "half name one": (beside, ["", "0"]),
    }  # fmt: skip
    settings = EngineSettings(share_prefixes=False, cache_bytes=_CACHE)  # off, since every turn has the same prompts
    rates: dict[str, list[float]] = {line: [] for line in lines}
    with started(plain, settings) as one, started(beside, settings) as other:
        gc.collect()
        gc.freeze()  # as services do after loading
        for turn in range(rounds + 1):
            for line, (loaded, names) in lines.items():
                rate = _rate(loaded, one if loaded is plain else other, names, callers)
                rates[line] += [rate] if turn else []  # the first turn is a warm-up
        gc.unfreeze()
    table = Rows("", "tokens/s", "share", "least", "most")
    for line, own in rates.items():
        shares = [rate / first for rate, first in zip(own, next(iter(rates.values())), strict=True)]
        numbers = statistics.median(shares), min(shares), max(shares)
        table.add(line, f"{statistics.median(own):.0f}", *(f"{number:.2f}" for number in numbers))


if __name__ == "__main__":
    typer.run(main)
