"""`python -m benchmarks.transport`: CPU time per streamed message, in the service and in the gateway."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.process import ROOT
from benchmarks.running import Running, Server
from benchmarks.shares import Shares, shares_of
from sensorium import AsyncClient
from sensorium.v1.common_pb2 import GenerationParameters, TokenIds
from sensorium.v1.text_pb2 import StreamGenerateRequest

_WARM_SECONDS = 1.0
_TOKENS = 100_000


@dataclass
class Count:
    """Number of messages received."""

    messages: int = 0


def main(
    streams: Annotated[list[int], typer.Option(help="Streams at a time; may be repeated.")] = [1, 16, 32],  # noqa: B006
    channels: Annotated[int, typer.Option(min=1, help="Connections that share them.")] = 1,
    step: Annotated[float, typer.Option(help="Seconds from one token of a stream to the next.")] = 0.03,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a measurement.")] = 4.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each; the median is shown.")] = 3,
    cache: Annotated[Path, typer.Option(help="Folder for logs.")] = ROOT / ".bench",
) -> None:
    """Prints CPU time per message over all threads; the service makes one token per step for every stream."""
    table = Table("streams", "service", "service behind the gateway", "gateway", "its loop alone", title="µs a message")
    with Running(cache) as running, asyncio.Runner() as runner:
        service = running.serve("benchmarks.transport.service", "--step-seconds", str(step))
        gateway = running.serve("gateway", "--static", service.address)

        def measured(front: Server, *servers: Server, streams: int) -> list[Shares]:
            return runner.run(_measure(front, servers, streams, channels, seconds))

        for count in streams:
            rounds: list[tuple[float, ...]] = []
            for _ in range(repeats):
                (alone,) = measured(service, service, streams=count)
                behind, before = measured(gateway, service, gateway, streams=count)
                rounds.append((alone.all, behind.all, before.all, before.loop))
            table.add_row(str(count), *(f"{1e6 * median(one):.1f}" for one in zip(*rounds, strict=True)))
    Console().print(table)


async def _measure(
    front: Server, servers: Sequence[Server], streams: int, channels: int, seconds: float
) -> list[Shares]:
    """Returns the CPU time per message of each server, with this many streams through `front`."""
    clients = [AsyncClient(front.address, retry=None) for _ in range(channels)]
    count = Count()
    callers = [asyncio.ensure_future(_call(clients[index % channels], count)) for index in range(streams)]
    await asyncio.sleep(_WARM_SECONDS)
    before, begun = [shares_of([server.process]) for server in servers], count.messages
    await asyncio.sleep(seconds)
    after, messages = [shares_of([server.process]) for server in servers], count.messages - begun
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    for client in clients:
        await client.close()
    return [(later - earlier) / messages for earlier, later in zip(before, after, strict=True)]


async def _call(client: AsyncClient, count: Count) -> None:
    request = StreamGenerateRequest(
        prompt_token_ids=TokenIds(ids=[1, 2, 3]),
        parameters=GenerationParameters(max_new_tokens=_TOKENS, ignore_eos=True),
    )
    async for _ in client.text.stream_generate(request):
        count.messages += 1


if __name__ == "__main__":
    typer.run(main)
