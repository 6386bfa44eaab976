"""Measures the costs of one gateway by its number of endpoints, with the real gateway in this process."""

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import generate_latest

from benchmarks.gateway.least_time import microseconds, now
from benchmarks.scale.replicas import MODEL
from benchmarks.soak.memory import resident_mib
from gateway.app import Gateway
from gateway.config import GatewaySettings
from gateway.endpoints.router import EndpointState
from sensorium.v1.models_pb2 import TASK_GENERATE_TEXT

_SETTLE_SECONDS = 2.0
_FIND_SECONDS = 60.0


@dataclass(frozen=True)
class Costs:
    """Costs of one gateway with many endpoints. Costs of replicas are per replica, for this one gateway."""

    endpoints: int
    found_seconds: float
    """Seconds from the start until all endpoints are ready."""
    memory_kib: float
    """KiB per endpoint: connection, health watch and known models."""
    replica_memory_kib: float
    route_us: float
    """CPU of routing one call, in µs, with the endpoint's reordering at its start and end."""
    change_us: float
    """CPU of one endpoint's change of state in the whole gateway, in µs."""
    poll_us: float
    """CPU of one ListModels call to one endpoint, in µs."""
    replica_poll_us: float
    idle_cpu: float
    """Share of a core used with only health watches and polls."""
    scrape_kib: float
    scrape_ms: float


Told = Callable[[], Awaitable[tuple[float, float]]]
"""CPU seconds and resident MiB of the replicas' process."""


async def costs(count: int, seconds: float) -> Costs:
    """Measures with `count` endpoints. `seconds` is the time over which polls are measured."""
    command = (sys.executable, "-m", "benchmarks.scale.replicas", str(count))
    replicas = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**20
    )
    assert replicas.stdin and replicas.stdout
    stdin, stdout = replicas.stdin, replicas.stdout

    async def told() -> tuple[float, float]:
        stdin.write(b"\n")
        cpu, memory = (await stdout.readline()).split()
        return float(cpu), float(memory)

    try:
        addresses = (await stdout.readline()).decode().split()
        return await _measured(addresses, told, seconds)
    finally:
        stdin.close()
        await replicas.wait()


async def _measured(addresses: list[str], told: Told, seconds: float) -> Costs:
    static = tuple(f"text={each}" for each in addresses)
    settings = GatewaySettings.model_validate({"static": static, "port": 0, "metrics_port": 0})
    count = len(addresses)
    gc.collect()
    before, (_, theirs_before) = resident_mib(os.getpid()), await told()
    gateway, begun = Gateway(settings), time.perf_counter()
    async with gateway:
        await asyncio.wait_for(_all_ready(gateway, count), _FIND_SECONDS)
        found = time.perf_counter() - begun
        await asyncio.sleep(min(seconds, _SETTLE_SECONDS))
        gc.collect()
        after, (theirs_cpu, theirs_after) = resident_mib(os.getpid()), await told()
        cpu, since = time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        cpu, since, (theirs_later, _) = time.process_time() - cpu, time.perf_counter() - since, await told()
        polls = count * since / settings.refresh_seconds
        scrape = generate_latest(gateway.registry)
        return Costs(
            endpoints=count,
            found_seconds=found,
            memory_kib=(after - before) * 1024 / count,
            replica_memory_kib=(theirs_after - theirs_before) * 1024 / count,
            route_us=await microseconds(now(lambda: _choose(gateway))),
            change_us=await microseconds(now(gateway.pool.on_change)),
            poll_us=cpu / polls * 1e6,
            replica_poll_us=(theirs_later - theirs_cpu) / polls * 1e6,
            idle_cpu=cpu / since,
            scrape_kib=len(scrape) / 1024,
            scrape_ms=await microseconds(now(lambda: generate_latest(gateway.registry))) / 1000,
        )


def _choose(gateway: Gateway) -> None:
    choice = gateway.pool.catalog.choose(MODEL, (TASK_GENERATE_TEXT,))
    assert choice is not None
    choice.endpoint.begin(1)
    choice.endpoint.end(1)


async def _all_ready(gateway: Gateway, count: int) -> None:
    # Not checked at every change: that would cost as much as what is measured.
    while sum(each.state is EndpointState.READY for each in gateway.pool.endpoints) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
