"""The order of measurements: every repeat measures all systems by turns, so that slow minutes affect all alike."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.environment import PeerMissing
from benchmarks.machine import FOREIGN_LIMIT, CpuTime, cpu_time, foreign_cores
from benchmarks.process import LOAD_CORE, SystemFailed
from benchmarks.running import Running
from benchmarks.text.caller import Caller
from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.load import Amount, Load, closed_loop, static_batches
from benchmarks.text.mixed import mixed
from benchmarks.text.result import Cell, Measurement, MixedMeasurement, Result
from benchmarks.text.statistics import MeasuredWrong, check_counts, numbers
from benchmarks.text.system import SYSTEMS, System
from benchmarks.text.workload import MIXED, WORKLOADS, Workload

Say = Callable[[str], None]
WARM_UP_TOKENS = 8


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    shapes: tuple[str, ...]
    systems: tuple[str, ...]
    workloads: tuple[str, ...]
    concurrency: tuple[int, ...]
    repeats: int
    seconds: float
    cache: Path

    def left_out(self) -> list[str]:
        """Returns a sentence for each thing that could be measured but is not."""
        offered = {
            "shapes": (SHAPES, self.shapes),
            "systems": (SYSTEMS, self.systems),
            "workloads": ((*WORKLOADS, MIXED), self.workloads),
        }
        missing = {what: [name for name in all_ if name not in chosen] for what, (all_, chosen) in offered.items()}
        return [f"{what} not measured in this run: {', '.join(names)}" for what, names in missing.items() if names]


async def measure(plan: Plan, result: Result, say: Say) -> None:
    """Fills `result`. A system that fails is noted and skipped; the others go on."""
    os.sched_setaffinity(0, {LOAD_CORE})
    missing: set[str] = set()
    for repeat in range(plan.repeats):
        for shape in plan.shapes:
            model = checkpoint(SHAPES[shape], plan.cache)
            for name in plan.systems:
                if name in missing or SYSTEMS[name].only not in (None, *plan.workloads):
                    continue
                try:
                    with Running(plan.cache) as running:
                        say(f"repeat {repeat + 1}/{plan.repeats}, {shape}: {name}")
                        caller = SYSTEMS[name].start(running, model)
                        visit = _Visit(plan, SYSTEMS[name], shape, repeat, running, result, say)
                        await visit.measure(caller)
                except PeerMissing as error:
                    missing.add(name)
                    result.note(f"{name} was not measured: {error}")
                except (SystemFailed, OSError) as error:
                    result.note(f"{name} failed on {shape}: {error}")


@dataclass(frozen=True)
class _Visit:
    """One running system, for one model shape in one repeat."""

    plan: Plan
    system: System
    shape: str
    repeat: int
    running: Running
    result: Result
    say: Say

    async def measure(self, caller: Caller) -> None:
        async with caller:
            for name in self.plan.workloads:
                if self.system.only not in (None, name):
                    continue
                if name == MIXED:
                    await self._mixed(caller)
                    continue
                for concurrency in self.plan.concurrency:
                    await self._cell(caller, WORKLOADS[name], concurrency)

    async def _cell(self, caller: Caller, workload: Workload, concurrency: int) -> None:
        amount = Amount(self.plan.seconds, 2 * concurrency)
        short = replace(workload, new_tokens=WARM_UP_TOKENS)
        await self._load(caller, short, concurrency, Amount(0, concurrency), "warm-up")
        before = self._cpu()
        load = await self._load(caller, workload, concurrency, amount, "measured")
        foreign = foreign_cores(before, self._cpu())
        cell = Cell(self.shape, workload.name, concurrency)
        try:
            found = numbers(load.samples, load.begin, load.end)
            check_counts(found, workload.prompt_tokens, workload.new_tokens)
        except MeasuredWrong as error:
            self.result.note(f"{self.system.name}, {cell.shape} {cell.workload} at {concurrency}: {error}")
            return
        self._note_foreign(foreign, f"{cell.shape} {cell.workload} at {concurrency}")
        self.result.measurements.append(Measurement(self.system.name, cell, self.repeat, found, foreign))
        self.say(f"  {workload.name} at {concurrency}: {found.tokens_per_second:.0f} tokens/s")

    async def _load(self, caller: Caller, workload: Workload, concurrency: int, amount: Amount, phase: str) -> Load:
        key = (self.repeat, concurrency, phase)
        loop = static_batches if self.system.batched else closed_loop
        return await loop(caller, lambda index: workload.prompt(*key, index), concurrency, amount)

    async def _mixed(self, caller: Caller) -> None:
        if self.system.batched:
            return  # no request can join a static batch
        before = self._cpu()
        try:
            felt = await mixed(caller, self.repeat)
        except MeasuredWrong as error:
            self.result.note(f"{self.system.name}, {self.shape} {MIXED}: {error}")
            return
        foreign = foreign_cores(before, self._cpu())
        self._note_foreign(foreign, f"{self.shape} {MIXED}")
        self.result.mixed.append(MixedMeasurement(self.system.name, self.shape, self.repeat, felt, foreign))
        self.say(f"  mixed: p99 {felt.before_p99:.0f} ms before, {felt.during_p99:.0f} ms during the long prompt")

    def _cpu(self) -> CpuTime:
        return cpu_time({process.popen.pid for process in self.running.processes})

    def _note_foreign(self, foreign: float, where: str) -> None:
        if foreign > FOREIGN_LIMIT:
            text = f"other processes took {foreign:.2f} cores during {self.system.name}, {where}"
            self.result.note(f"{text}, repeat {self.repeat + 1}")
