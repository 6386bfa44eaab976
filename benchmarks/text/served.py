"""`python -m benchmarks.text.served`: what serving costs on top of the engine's steps (ADR 40).

The service and the in-process engine run side by side and are loaded by turns, seconds apart, so that their rates are
comparable although the machine's speed changes by the minute. Prints for each: CPU time per token of the engine's
thread, of the event loop and of all other threads; and the length of steps, with and without prefill.
"""

import asyncio
import json
import os
from contextlib import AsyncExitStack, ExitStack
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.options import one_of
from benchmarks.process import LOAD_CORE, ROOT
from benchmarks.running import Running
from benchmarks.shares import Shares, shares_of
from benchmarks.tables import Rows
from benchmarks.text.caller import Caller
from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.load import Amount, Load, MakePrompt, closed_loop
from benchmarks.text.statistics import numbers, percentile, spread
from benchmarks.text.system import SYSTEMS
from benchmarks.text.workload import WORKLOADS

_SYSTEMS = ("sensorium", "sensorium-uncached", "sensorium-gateway", "engine")
"""The systems with our engine."""
_RECORDED = ("services.text", "benchmarks.text.engine")
_COLUMNS = (
    "system", "tokens/s", "inter-token p99, ms", "engine, µs a token", "loop", "others", "decode-only step p50, ms",
    "reading step p50", "p95", "p99",
)  # fmt: skip


@dataclass
class _Recording(Running):
    """A system whose engine process records its steps."""

    notes: Path = field(kw_only=True)
    """File of the steps, written when the process ends."""

    def by(self, module: str) -> list[str]:
        """See Running."""
        command = super().by(module)
        return [*command, "benchmarks.text.recorded", str(self.notes)] if module in _RECORDED else command


@dataclass(frozen=True)
class _Plan:
    """What to measure in every repeat."""

    systems: tuple[str, ...]
    concurrency: int
    turns: int
    amount: Amount
    cache: Path


@dataclass
class _Visit:
    """A running system, the results of its turns, and their CPU time."""

    running: _Recording
    caller: Caller
    loads: list[Load] = field(default_factory=list[Load])
    shares: Shares = field(default_factory=Shares)

    async def turn(self, prompts: MakePrompt, concurrency: int, amount: Amount) -> None:
        """Measures one turn."""
        self.loads.append(await closed_loop(self.caller, prompts, concurrency, amount))

    def speeds(self) -> list[float]:
        """Returns the tokens per second of each turn."""
        return [numbers(load.samples, load.begin, load.end).tokens_per_second for load in self.loads]


def main(
    system: Annotated[list[str], one_of(_SYSTEMS, help="May be repeated.")] = ["sensorium", "engine"],  # noqa: B006
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Times that all systems are started.")] = 3,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each system in a repeat.")] = 4,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn at least.")] = 3.0,
    cache: Annotated[Path, typer.Option(help="Folder for models and logs.")] = ROOT / ".bench",
) -> None:
    """Prints a line per system and repeat, and the ratio of the first system's rate to each other one's."""
    os.sched_setaffinity(0, {LOAD_CORE})
    plan = _Plan(tuple(system), concurrency, turns, Amount(seconds, 2 * concurrency), cache.resolve())
    table = Rows(*_COLUMNS)
    ratios = {name: list[float]() for name in system[1:]}
    for index in range(repeats):
        with ExitStack() as stack:
            found = asyncio.run(_measure(plan, index, stack))
        for name, visit in found.items():
            table.add(name, *_told(visit))
        own = found[system[0]].speeds()
        for name, pairs in ratios.items():
            pairs += [one / other for one, other in zip(own, found[name].speeds(), strict=True)]
    for name, pairs in ratios.items():
        told = spread(pairs)
        print(f"\ntokens/s, {system[0]} ÷ {name}: {told.median:.3f} in the middle of {len(pairs)} pairs", end=" ")
        print(f"({told.lowest:.2f} to {told.highest:.2f})", flush=True)


async def _measure(plan: _Plan, repeat: int, stack: ExitStack) -> dict[str, _Visit]:
    """Starts all systems (`stack` stops them) and measures them by turns, in alternating order."""
    workload, model = WORKLOADS["64/64"], checkpoint(SHAPES["wide"], plan.cache)
    visits: dict[str, _Visit] = {}
    async with AsyncExitStack() as callers:
        for name in plan.systems:
            running = stack.enter_context(_Recording(plan.cache, notes=plan.cache / f"logs/{name}.steps.json"))
            visits[name] = _Visit(running, await callers.enter_async_context(SYSTEMS[name].start(running, model)))
            warm = partial(workload.prompt, "warm", repeat)
            await closed_loop(visits[name].caller, warm, plan.concurrency, Amount(0, plan.concurrency))
        before = {name: shares_of(visit.running.processes) for name, visit in visits.items()}
        for turn in range(plan.turns):
            order = list(visits.values())
            for visit in order if turn % 2 else reversed(order):
                await visit.turn(partial(workload.prompt, repeat, turn), plan.concurrency, plan.amount)
        for name, visit in visits.items():
            visit.shares = shares_of(visit.running.processes) - before[name]
    return visits


def _told(visit: _Visit) -> list[str]:
    steps: list[tuple[float, int, int, float]] = json.loads(visit.running.notes.read_text())
    tokens = sum(sample.output_tokens for load in visit.loads for sample in load.samples)
    within = [step for step in steps if step[1] and any(load.begin <= step[0] <= load.end for load in visit.loads)]
    decoding = [1e3 * seconds for _, _, read, seconds in within if not read]
    reading = [1e3 * seconds for _, _, read, seconds in within if read]
    pauses = [numbers(load.samples, load.begin, load.end).inter_token_p99 for load in visit.loads]
    lengths = [(decoding, 0.5), (reading, 0.5), (reading, 0.95), (reading, 0.99)]
    return [
        f"{median(visit.speeds()):.0f}",
        f"{median(pauses):.1f}",
        *(f"{1e6 * part / tokens:.0f}" for part in astuple(visit.shares)),
        *(f"{percentile(of_kind, share):.1f}" if of_kind else "–" for of_kind, share in lengths),
    ]


if __name__ == "__main__":
    typer.run(main)
