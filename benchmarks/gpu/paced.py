"""`python -m benchmarks.gpu.paced`: how much of a GPU's speed is left when the engine is served, measured without a
GPU.

While a GPU computes, the event loop and the engine's thread compete for the GIL. The cost depends on the length of a
step and the number of its tokens. So the service, and the engine in process, run with steps that take a given time but
no processor (see `pretended`). Everything else is as in service: admission, scheduler, detokenizer, delivery, gRPC, and
a client in its own process. Both are started together and loaded in turn.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.process import LOAD_CORE, ROOT, SERVER_CORE, Process
from benchmarks.running import Running
from benchmarks.shares import Shares, shares_of
from benchmarks.tables import Rows
from benchmarks.text.caller import Caller, GrpcCaller
from benchmarks.text.checkpoint import Shape, checkpoint
from benchmarks.text.pipe import PipeCaller
from benchmarks.text.sample import RequestSample
from benchmarks.text.statistics import MeasuredWrong
from benchmarks.text.workload import Workload

_SHAPE = Shape("pretended", layers=1, hidden=64, feed_forward=64, heads=2, key_value_heads=1)
_PROMPT = 16
_ROWS = 32
"""Default of most rows in a step."""
_SERVED = "served"
_COLUMNS = (
    "step, ms", "streams", "side", "tokens/s", "of what steps allow", "served ÷ this", "engine, µs a token", "loop",
    "others",
)  # fmt: skip
_TRIES = 5
_MOST_TOKENS = 40_000
"""Most tokens of a turn, for machines where steps cannot keep their pace."""


@dataclass
class _Side:
    """The service or the engine in process, with the results of its turns."""

    process: Process
    caller: Caller
    rates: list[float] = field(default_factory=list[float])
    shares: list[Shares] = field(default_factory=list[Shares])
    """Processor seconds per token, for each turn."""

    async def turn(self, workload: Workload, streams: int, *key: object) -> None:
        """Loads it once, or again if its streams did not decode together: on a busy machine one may be delayed."""
        prompts = [workload.prompt(*key, i) for i in range(streams)]
        for _ in range(_TRIES):
            before = shares_of([self.process])
            found = await asyncio.gather(*(self.caller.call([prompt]) for prompt in prompts))
            taken, tokens = shares_of([self.process]) - before, streams * workload.new_tokens
            if rate := rate_of([sample for samples in found for sample in samples]):
                break
        else:
            raise MeasuredWrong("the streams never decoded together; let turns be longer")
        self.rates.append(rate)
        self.shares.append(taken / tokens)

    def middle_shares(self) -> list[float]:
        """Returns the medians for engine, loop and other threads."""
        return [median(each) for each in zip(*map(astuple, self.shares), strict=True)]


def main(
    milliseconds: Annotated[list[float], typer.Option(help="Of a step; may be repeated.")] = [1.0, 1.5, 3.0, 7.0],  # noqa: B006
    streams: Annotated[list[int], typer.Option(help="At a time; may be repeated.")] = [1, 8, 32, 128],  # noqa: B006
    turns: Annotated[int, typer.Option(min=1, help="Of each side, with each number of streams.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn, if it keeps the pace.")] = 1.5,
    both: Annotated[bool, typer.Option("--both", help="Server and client may use all cores.")] = False,
    beside: Annotated[Path | None, typer.Option(help="Another checkout, whose service takes turns too.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for models and logs.")] = ROOT / ".bench",
) -> None:
    """Prints a line for each side, step and number of streams: medians of turns, and of the ratios of paired turns."""
    if not both:
        os.sched_setaffinity(0, {LOAD_CORE})
    sides = _Sides(checkpoint(_SHAPE, cache.resolve()), cache, max(streams), None if both else SERVER_CORE, beside)
    table = Rows(*_COLUMNS)
    for step in milliseconds:
        asyncio.run(_measure(sides, step, streams, turns, seconds, table))


async def _measure(sides: "_Sides", step: float, streams: list[int], turns: int, seconds: float, table: Rows) -> None:
    """Starts all sides with steps of `step` milliseconds, and lets them take turns."""
    async with AsyncExitStack() as stack:
        started = await sides.start(step, stack)
        for count in streams:
            tokens = int(min(1e3 * seconds / step, _MOST_TOKENS / count))
            workload = Workload("paced", _PROMPT, tokens)
            for side in started.values():
                await side.turn(workload, count, "warm")
                side.rates.clear()
                side.shares.clear()
            for turn in range(turns):
                order = list(started.values())
                for side in order if turn % 2 else reversed(order):
                    await side.turn(workload, count, turn)
            for name, side in started.items():
                ratio = median(one / other for one, other in zip(started[_SERVED].rates, side.rates, strict=True))
                rate = median(side.rates)
                shares = (f"{1e6 * share:.1f}" for share in side.middle_shares())
                allowed = 1e-3 * step * rate / count
                table.add(f"{step:g}", str(count), name, f"{rate:,.0f}", f"{allowed:.1%}", f"{ratio:.3f}", *shares)


@dataclass(frozen=True)
class _Sides:
    """Starts the sides."""

    model: Path
    cache: Path
    rows: int
    core: int | None
    beside: Path | None

    async def start(self, step: float, stack: AsyncExitStack) -> dict[str, _Side]:
        """Returns all sides by name, once they serve."""
        trees = {_SERVED: ROOT} | ({"served beside": self.beside} if self.beside is not None else {})
        found = {name: await self._service(name, tree, step, stack) for name, tree in trees.items()}
        running = stack.enter_context(_Pretending(self.cache, seconds=1e-3 * step))
        process = running.run("benchmarks.text.engine", *self._sizes(), answers=True, core=self.core)
        found["in process"] = _Side(process, await stack.enter_async_context(PipeCaller(process)))
        return found

    async def _service(self, name: str, tree: Path, step: float, stack: AsyncExitStack) -> _Side:
        running = stack.enter_context(_Pretending(self.cache, seconds=1e-3 * step, tree=tree))
        arguments = ("--device", "cpu", *self._sizes())
        server = running.serve("services.text", *arguments, name=name.replace(" ", "-"), core=self.core)
        return _Side(server.process, await stack.enter_async_context(GrpcCaller(server.port)))

    def _sizes(self) -> list[str]:
        return ["--model", str(self.model), *(["--max-sequences", str(self.rows)] if self.rows > _ROWS else [])]


@dataclass
class _Pretending(Running):
    """Runs modules of a checkout with steps that take `seconds`."""

    seconds: float = field(kw_only=True)
    tree: Path = ROOT

    def by(self, module: str) -> list[str]:
        """See Running."""
        return ["env", "-C", str(self.tree), *super().by(module), "benchmarks.gpu.pretended", str(self.seconds)]


def rate_of(samples: Sequence[RequestSample]) -> float:
    """Returns the tokens per second of all requests, while all of them decode.

    Of each request it counts from its first message in that time, without that message's tokens, which were made
    before. Returns 0 if a request had ended before another one began.

    Raises:
        MeasuredWrong: a request failed.
    """
    if failed := [sample.error for sample in samples if sample.error]:
        raise MeasuredWrong(f"{len(failed)} of {len(samples)} requests failed, the first by: {failed[0]}")
    begin = max(sample.arrivals[0] for sample in samples)
    if begin >= min(sample.arrivals[-1] for sample in samples):
        return 0.0
    rate = 0.0
    for sample in samples:
        first = next(time for time in sample.arrivals if time >= begin)
        if first < sample.arrivals[-1]:
            rate += sum(time > first for time in sample.arrivals) / (sample.arrivals[-1] - first)
    return rate


if __name__ == "__main__":
    typer.run(main)
