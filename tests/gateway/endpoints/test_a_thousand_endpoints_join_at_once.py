import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.discovery import Member
from gateway.endpoints.pool import _PACE_SECONDS
from gateway.endpoints.router import EndpointState
from tests.fakes.discovery import FakeDiscovery
from tests.gateway.process import ROOT
from tests.gateway.rig import rig
from tests.waiting import until

COUNT = 1000


@asynccontextmanager
async def endpoints() -> AsyncIterator[list[Member]]:
    """Runs a process that serves a thousand endpoints; yields them as members."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.many_endpoints", str(COUNT)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        ports = (await child.stdout.readline()).split()
        yield [Member(f"127.0.0.1:{int(port)}", "text") for port in ports]
    finally:
        child.stdin.close()
        await child.wait()


class Stalls:
    """Measures the longest block of the event loop, in CPU seconds of its thread, without other processes."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0.002)
            self.longest = max(self.longest, time.thread_time() - begun)


@pytest.mark.usefixtures("uncollected")  # garbage of other tests would lengthen collections
async def test_and_leave_without_stalling_the_loop():
    discovery, stalls = FakeDiscovery(), Stalls()
    async with endpoints() as members, rig(discovery=discovery, refresh_seconds=10) as gateway:
        pool = gateway.gateway.pool
        watching = asyncio.ensure_future(stalls.watch())
        begun, turns = time.monotonic(), 0
        discovery.tell(*members)
        while len(pool.endpoints) < COUNT:
            await asyncio.sleep(0)
            turns += 1
        # Other tasks had a turn between any two endpoints, and the first requests are spread over time.
        assert turns >= COUNT
        due = (time.monotonic() - begun) / _PACE_SECONDS + 1
        assert sum("channel" in vars(endpoint) for endpoint in pool.endpoints) <= due
        await until(lambda: all(endpoint.state is EndpointState.READY for endpoint in pool.endpoints))
        joined, stalls.longest = stalls.longest, 0.0
        discovery.tell()
        await until(lambda: pool.with_draining() == [])
        watching.cancel()
    print(f"joined with stalls of {1000 * joined:.0f} ms at most, left with {1000 * stalls.longest:.0f} ms")
    # All at once, they would take more than a second even on a fast processor.
    assert max(joined, stalls.longest) < 0.6
