"""`python -m benchmarks.text.served`: what serving adds to the engine's steps, by processor time (ADR 40).

The service and the engine in process are started in turn. Of each: what a token takes of the engine's thread, of the
event loop, and of all others; and how long steps are, those that only decode and those that read prompts too. By the
processor's own time that says something on a machine that others use as well; tokens a second and pauses do not.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.text.checkpoint import SHAPES, checkpoint
from benchmarks.text.load import Amount, Load, closed_loop
from benchmarks.text.process import LOAD_CORE, ROOT, Process
from benchmarks.text.statistics import numbers, percentile
from benchmarks.text.system import SYSTEMS, Running
from benchmarks.text.workload import WORKLOADS

_RECORDED = ("services.text", "benchmarks.text.engine")
_HEAD = (
    "| system | tokens/s | inter-token p99, ms | engine, µs a token | loop | others | "
    "decode-only step p50, ms | reading step p50 | p95 | p99 |\n" + "| --- " + "| ---: " * 9 + "|"
)


class _Recording(Running):
    """A system of which the process with the engine notes its steps."""

    def start(self, name: str, command: list[str], extra: Mapping[str, str] | None = None, **more: int) -> Process:
        """See Running."""
        python, _, module, *arguments = command
        if module in _RECORDED:
            self.notes = self.cache / f"logs/{name}.steps.json"
            command = [python, "-m", "benchmarks.text.recorded", str(self.notes), module, *arguments]
        return super().start(name, command, extra, **more)


@dataclass(frozen=True)
class _Shares:
    """Seconds of processor, by who took them."""

    engine: float
    loop: float
    others: float


def main(
    system: Annotated[list[str], typer.Option(help="May be repeated.")] = ["sensorium", "engine"],  # noqa: B006
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds over all systems.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a measurement at least.")] = 6.0,
    cache: Annotated[Path, typer.Option(help="Folder for models and logs.")] = ROOT / ".bench",
) -> None:
    """Prints a line for each system and round: µs of processor a token, and ms of the engine's thread a step."""
    os.sched_setaffinity(0, {LOAD_CORE})
    print(_HEAD, flush=True)
    for index in range(repeats):
        for name in system:
            amount = Amount(seconds, 2 * concurrency)
            told = asyncio.run(_measure(name, concurrency, amount, index, cache.resolve()))
            print(f"| {name} | {' | '.join(told)} |", flush=True)


async def _measure(name: str, concurrency: int, amount: Amount, repeat: int, cache: Path) -> list[str]:
    workload = WORKLOADS["64/64"]
    with _Recording(checkpoint(SHAPES["wide"], cache), cache) as running:
        async with SYSTEMS[name].start(running) as caller:
            await closed_loop(caller, lambda index: workload.prompt("warm", index), concurrency, Amount(0, concurrency))
            before = _threads(running.processes)
            load = await closed_loop(caller, lambda index: workload.prompt(repeat, index), concurrency, amount)
            shares = _shares(before, _threads(running.processes))
    return _told(load, shares, json.loads(running.notes.read_text()))


def _told(load: Load, shares: _Shares, steps: list[tuple[float, int, int, float]]) -> list[str]:
    found, tokens = numbers(load.samples, load.begin, load.end), sum(sample.output_tokens for sample in load.samples)
    within = [step for step in steps if load.begin <= step[0] <= load.end and step[1]]
    decoding = [1e3 * seconds for _, _, read, seconds in within if not read]
    reading = [1e3 * seconds for _, _, read, seconds in within if read]
    parts = [1e6 * part / tokens for part in (shares.engine, shares.loop, shares.others)]
    lengths = [(decoding, 0.5), (reading, 0.5), (reading, 0.95), (reading, 0.99)]
    return [
        f"{found.tokens_per_second:.0f}",
        f"{found.inter_token_p99:.1f}",
        *(f"{part:.0f}" for part in parts),
        *(f"{percentile(of_kind, share):.1f}" if of_kind else "–" for of_kind, share in lengths),
    ]


def _threads(processes: Sequence[Process]) -> dict[tuple[int, int], float]:
    """Returns the seconds that each thread has taken of a processor, by its process and its own number."""
    found: dict[tuple[int, int], float] = {}
    for process in processes:
        for task in Path(f"/proc/{process.popen.pid}/task").iterdir():
            found[process.popen.pid, int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def _shares(before: dict[tuple[int, int], float], after: dict[tuple[int, int], float]) -> _Shares:
    """Divides what was taken: the engine's thread takes most, and loops run in the first thread of a process."""
    taken = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    engine = max(taken, key=lambda thread: taken[thread])
    loops = sum(seconds for (process, thread), seconds in taken.items() if process == thread)
    return _Shares(taken[engine], loops, sum(taken.values()) - taken[engine] - loops)


if __name__ == "__main__":
    typer.run(main)
