"""`python -m benchmarks.text.step`: breaks down the CPU time of the engine's steps, in this process.

Callers send requests with 64 tokens in and 64 out. Afterwards, the matrix products of the recorded steps are replayed
alone, on the same weights in the same order, and so is attention over the same pages; the remainder is other work of
the forward. Each line is measured with the whole decoder in one native call, and with the model's own forward.
"""

import asyncio
import gc
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import typer
from prometheus_client import CollectorRegistry
from torch import Tensor, nn

from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.tables import Rows
from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.in_process_caller import InProcessCaller
from benchmarks.text.load import Amount, closed_loop
from benchmarks.text.peak import peak
from benchmarks.text.workload import WORKLOADS
from services.engine.fusion.decoder import FusedDecoderLayer
from services.engine.generation.attention.cpu import CpuPlan
from services.engine.generation.building.build import EngineSettings, engine_of, paged_parts
from services.engine.generation.running.runner import ModelRunner, batch_of
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import load_language_model
from services.engine.metrics import EngineMetrics
from services.engine.native.library import Library, load_library
from services.engine.native.linear import NativeLinear

_CPU = torch.device("cpu")
_REQUESTS = 4
"""Requests per caller."""
_SPREAD = 64
"""Padding between rows in elements, as in the library, so that rows do not conflict in the L1 cache."""


@dataclass
class Step:
    """One forward. Times are CPU seconds of its thread."""

    plan: CpuPlan
    tokens: int
    kept: int
    """Number of tokens whose logits were computed."""
    began: float
    noted: float
    """Seconds spent on recording, before the forward."""
    ended: float = 0.0
    products: float = 0.0
    attention: float = 0.0
    multiplications: int = 0


class Recorder:
    """Records every forward of a runner, by wrapping its `run`."""

    def __init__(self, runner: ModelRunner, library: Library) -> None:
        self.steps: list[Step] = []
        self._run, self._cache, self._threads = runner.run, runner.cache, library.threads
        runner.run = self.run

    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        """See Runner."""
        asked = time.thread_time()
        plan = CpuPlan(batch_of(rows, self._cache, _CPU), self._threads)
        tokens, kept = sum(row.token_count for row in rows), sum(row.scored + row.completes for row in rows)
        began = time.thread_time()
        logits = self._run(rows)
        self.steps.append(Step(plan, tokens, max(kept, 1), began, began - asked, time.thread_time()))
        return logits


class Replay:
    """Replays the matrix products and the attention of recorded steps."""

    def __init__(self, model: nn.Module, library: Library) -> None:
        self._layers = [module for module in model.modules() if isinstance(module, FusedDecoderLayer)]
        self._others = [module for module in model.modules() if isinstance(module, NativeLinear)]
        self._library, self._dtype = library, self._others[0].dtype
        self._inputs, self._outputs = (torch.randn(1 << 22).to(self._dtype) for _ in range(2))

    def run(self, step: Step) -> None:
        """Fills in the seconds of the step's products and attention, and the number of multiplications."""
        step.products = step.attention = 0.0
        step.multiplications = 0
        for layer in self._layers:
            projections, *others = layer.linears
            self._multiply(step, projections, step.tokens)
            began = time.thread_time()
            self._attend(step.plan, layer)
            step.attention += time.thread_time() - began
            for linear in others:
                self._multiply(step, linear, step.kept if layer.last else step.tokens)
        for linear in self._others:
            self._multiply(step, linear, step.kept)

    def _multiply(self, step: Step, linear: NativeLinear, rows: int) -> None:
        began = time.thread_time()
        inward, outward = linear.in_features + _SPREAD, linear.out_features + _SPREAD
        to, threads = self._outputs.data_ptr(), self._library.threads
        multiply = self._library.linear[self._dtype]
        multiply(linear.address, self._inputs.data_ptr(), inward, rows, None, to, outward, threads)
        step.products += time.thread_time() - began
        step.multiplications += rows * linear.in_features * sum(linear.widths)

    def _attend(self, plan: CpuPlan, layer: FusedDecoderLayer) -> None:
        native, cache = layer.native, plan.batch.cache
        keys, values = cache.keys(native.index).data_ptr(), cache.values(native.index).data_ptr()
        width = native.layout.heads * max(native.layout.key_width, native.layout.value_width) + _SPREAD
        query, to, threads = self._inputs.data_ptr(), self._outputs.data_ptr(), self._library.threads
        attend = self._library.attend[self._dtype]
        attend(native.address, plan.rows, plan.row_count, query, width, keys, values, to, width, threads)


def _told(steps: list[Step], most: float) -> list[str]:
    inner, following = steps[:-1], steps[1:]
    seconds = sum(after.began - after.noted - step.began for step, after in zip(inner, following, strict=True))
    forward, products = sum(step.ended - step.began for step in inner), sum(step.products for step in inner)
    attention, multiplied = sum(step.attention for step in inner), sum(step.multiplications for step in inner)
    tokens, count = sum(step.kept for step in inner), len(inner)
    shares = (products, attention, forward - products - attention, seconds - forward)
    return [
        f"{sum(step.tokens for step in inner) / count:.0f}",
        f"{1000 * seconds / count:.1f}",
        f"{tokens / seconds:.0f}",
        *(f"{part / seconds:.1%}" for part in shares),
        f"{multiplied / products / most:.0%}",
        f"{multiplied / seconds / most:.0%}",
    ]


def main(
    rows: Annotated[str, typer.Option(help="Callers at a time, separated by commas.")] = "1,4,16,32",
    shape: Annotated[str, one_of(SHAPES, help="Model.")] = "wide",
    cache: Annotated[Path, typer.Option(help="Folder for models.")] = ROOT / ".bench",
) -> None:
    """Prints a table row for each number of callers."""
    torch.set_num_threads(1)
    model = str(checkpoint(SHAPES[shape], cache))
    loaded = load_language_model(model, revision=None, device=_CPU, dtype="auto")
    settings = EngineSettings(share_prefixes=False)  # off, since every line has the same prompts
    parts, library = paged_parts(loaded, settings), load_library()
    built = engine_of(loaded, parts, settings, EngineMetrics(CollectorRegistry()))
    assert library is not None and isinstance(parts.runner, ModelRunner)
    most, replay, recorder = peak(loaded.model.dtype), Replay(loaded.model, library), Recorder(parts.runner, library)
    ways = {"one call": parts.runner.whole, "the model's": None}
    gc.collect()
    gc.freeze()  # as services do after loading
    built.engine.start()
    print(f"{most / 1e9:.0f} thousand million multiplications a second at most; times are of the CPU")
    table = Rows(
        "callers", "forward", "tokens read", "ms a step", "tokens/s", "products", "attention", "rest of forward",
        "outside", "of the most, products", "step",
    )  # fmt: skip
    for count, (way, parts.runner.whole) in product(map(int, rows.split(",")), ways.items()):
        recorder.steps.clear()
        prompt = partial(WORKLOADS["64/64"].prompt, count)
        asyncio.run(closed_loop(InProcessCaller(loaded, built), prompt, count, Amount(0.0, _REQUESTS * count)))
        for step in recorder.steps:
            replay.run(step)
        table.add(str(count), way, *_told(recorder.steps, most))
    built.engine.close()
    gc.unfreeze()  # otherwise libraries report false leaks at exit


if __name__ == "__main__":
    typer.run(main)
