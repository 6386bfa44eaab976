"""`python -m benchmarks.transport`: processor time of a streamed message, in the service and in the gateway."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.text.process import ROOT, Process, free_port
from benchmarks.text.system import serves
from sensorium import AsyncClient
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from sensorium.v1.text_pb2 import StreamGenerateRequest

_WARM_SECONDS = 1.0
_TOKENS = 100_000

Clock = Callable[[], float]
"""Seconds of processor time so far."""


@dataclass
class Count:
    """Messages that came."""

    messages: int = 0


def main(
    streams: Annotated[list[int], typer.Option(help="Streams at a time; may be repeated.")] = [1, 16, 32],  # noqa: B006
    channels: Annotated[int, typer.Option(min=1, help="Connections that share them.")] = 1,
    step: Annotated[float, typer.Option(help="Seconds from one token of a stream to the next.")] = 0.03,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a measurement.")] = 4.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each; the median is shown.")] = 3,
    logs: Annotated[Path, typer.Option(help="Folder for logs.")] = ROOT / ".bench/transport",
) -> None:
    """Prints processor time per message, of all threads; the service makes a token each step for every stream.

    What the gateway's takes beside the thread of its event loop is gRPC's towards the endpoint.
    """
    table = Table("streams", "service", "service behind the gateway", "gateway", "its loop alone", title="µs a message")
    with ExitStack() as running, asyncio.Runner() as runner:
        service, port = _start(running, logs, "benchmarks.transport.service", "--step-seconds", str(step))
        gateway, front = _start(running, logs, "gateway", "--static", f"127.0.0.1:{port}")
        for count in streams:
            rounds = [
                (
                    *runner.run(_measure(port, [_all(service)], count, channels, seconds)),
                    *runner.run(
                        _measure(front, [_all(service), _all(gateway), _loop(gateway)], count, channels, seconds)
                    ),
                )
                for _ in range(repeats)
            ]
            table.add_row(str(count), *(f"{median(one):.1f}" for one in zip(*rounds, strict=True)))
    Console().print(table)


async def _measure(port: int, clocks: list[Clock], streams: int, channels: int, seconds: float) -> list[float]:
    clients = [AsyncClient(f"127.0.0.1:{port}", retry=None) for _ in range(channels)]
    count = Count()
    callers = [asyncio.ensure_future(_call(clients[index % channels], count)) for index in range(streams)]
    await asyncio.sleep(_WARM_SECONDS)
    before, begun = [clock() for clock in clocks], count.messages
    await asyncio.sleep(seconds)
    after, messages = [clock() for clock in clocks], count.messages - begun
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    for client in clients:
        await client.close()
    return [(later - earlier) / messages * 1e6 for earlier, later in zip(before, after, strict=True)]


async def _call(client: AsyncClient, count: Count) -> None:
    request = StreamGenerateRequest(
        prompt_token_ids=TokenIds(ids=[1, 2, 3]),
        parameters=GenerationParameters(max_new_tokens=_TOKENS, ignore_eos=True),
    )
    async for _ in client.text.stream_generate(request):
        count.messages += 1


def _all(process: Process) -> Clock:
    """Returns what tells the processor time of all threads of a process so far."""
    tasks = Path(f"/proc/{process.popen.pid}/task")
    return lambda: sum(_seconds(task) for task in tasks.iterdir())


def _loop(process: Process) -> Clock:
    """Returns what tells that of its first thread, in which the event loop runs."""
    return lambda: _seconds(Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}"))


def _seconds(task: Path) -> float:
    return int((task / "schedstat").read_text().split()[0]) / 1e9


def _start(running: ExitStack, logs: Path, module: str, *arguments: str) -> tuple[Process, int]:
    port = free_port()
    ports = ["--port", str(port), "--metrics-port", str(free_port()), "--drain-delay-seconds", "0"]
    process = Process([sys.executable, "-m", module, *arguments, *ports], logs / f"{module}.log")
    running.callback(process.stop)
    process.wait(lambda: serves(port))
    return process, port


if __name__ == "__main__":
    typer.run(main)
