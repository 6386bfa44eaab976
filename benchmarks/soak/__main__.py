"""`python -m benchmarks.soak`: checks that memory does not grow with the number of requests."""

import asyncio
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import sensorium
from benchmarks.soak.memory import Memory, resident_mib
from benchmarks.soak.traffic import Traffic
from local.fleet import fleet
from local.stack import Ports, Stack

SAMPLES = 20
TOLERANCE = 0.02
"""Growth up to this share counts as none."""


def main(
    requests: Annotated[int, typer.Option(min=SAMPLES, help="Requests in all.")] = 20_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 32,
) -> None:
    """Sends requests of every kind through the gateway to the embedded chat model, and watches the memory."""
    console = Console()
    began = time.monotonic()
    with Stack(Ports.free(1), fleet()[:1]) as stack, Progress(console=console) as progress:
        for _ in stack.wait_ready():
            pass
        memories, traffic = asyncio.run(_soak(stack, requests, concurrency, progress))
    ends = Table("request", "ended", title=f"{requests} requests in {time.monotonic() - began:.0f} s")
    for end, number in sorted(traffic.ends.items()):
        ends.add_row(end, str(number))
    console.print(ends)
    table = Table("process", "first, MiB", "second quarter", "last quarter", "growth")
    for memory in memories:
        early, late = memory.quarters
        table.add_row(
            memory.name, f"{memory.samples[0]:.1f}", f"{early:.1f}", f"{late:.1f}", f"{100 * memory.growth:+.1f} %"
        )
    console.print(table)
    sys.exit(max(memory.growth for memory in memories) > TOLERANCE)


async def _soak(stack: Stack, requests: int, concurrency: int, progress: Progress) -> tuple[list[Memory], Traffic]:
    memories = {pid: Memory(name) for name, pid in stack.processes.items()}
    order, every = iter(range(requests)), max(requests // SAMPLES, 1)
    task = progress.add_task("requests", total=requests)
    async with sensorium.AsyncClient(stack.target, retry=None) as client:
        traffic = Traffic(client)

        async def caller() -> None:
            for number in order:
                await traffic.send(number)
                progress.advance(task)
                if number % every == 0:
                    for pid, memory in memories.items():
                        memory.samples.append(resident_mib(pid))

        await asyncio.gather(*(caller() for _ in range(concurrency)))
    stack.check()
    return list(memories.values()), traffic


if __name__ == "__main__":
    typer.run(main)
