"""After calls that wait, are cancelled or time out while endpoints fail and vanish, no slot or queue entry is left."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import grpc

from gateway.admission import Ask
from sensorium.errors import ModelNotReady
from sensorium.v1 import text_pb2
from tests.fakes.cable import Cable
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import Rig, rig
from tests.waiting import until

CALLERS = 60
TURNS = 6


class Pause(asyncio.Event):
    """Once it is set, a gate that opens by itself after up to 20 ms."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def wait(self) -> Any:
        await super().wait()
        await asyncio.sleep(self._rng.random() * 0.02)


async def _call(gateway: Rig, rng: random.Random, tenant: str) -> None:
    request = text_pb2.StreamGenerateRequest(prompt="x", priority=rng.randrange(-3, 4))
    timeout = rng.choice((None, 0.05, 1, 5))
    call = gateway.text.StreamGenerate(request, metadata=(("x-tenant", tenant),), timeout=timeout)
    leaving = asyncio.get_running_loop().call_later(rng.random() * 0.2, call.cancel) if rng.random() < 0.3 else None
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        async for _ in call:
            pass
    if leaving is not None:
        leaving.cancel()


async def _caller(gateway: Rig, rng: random.Random, tenant: str) -> None:
    for _ in range(TURNS):
        await _call(gateway, rng, tenant)


async def _trouble(cable: Cable, fake: FakeTextService) -> None:
    while True:
        await asyncio.sleep(0.1)
        await cable.cut()
        fake.script.error = ModelNotReady("ill")
        await asyncio.sleep(0.1)
        await cable.mend()
        fake.script.error = None


async def test_no_slot_or_queue_entry_leaks():
    rng = random.Random(7)
    pause = Pause(rng)
    fakes = [FakeTextService(script=Script(before=pause), concurrency=3) for _ in range(3)]
    async with fakes[0], fakes[1], fakes[2], Cable(fakes[2].port) as cable:
        addresses = (fakes[0].address, fakes[1].address, cable.address)
        async with rig(*addresses, over_commit=1, queue_requests=20, first_token_seconds=2) as gateway:

            def seen(*outcomes: str) -> bool:
                name = "sensorium_gateway_admission_total"
                return all(gateway.metric(name, pool="default", outcome=outcome) for outcome in outcomes)

            callers = [asyncio.ensure_future(_caller(gateway, rng, f"tenant {n % 5}")) for n in range(CALLERS)]
            # However slowly calls come and go, no endpoint answers before some have waited in vain.
            await until(lambda: seen("direct", "full", "deadline", "cancelled"))
            pause.set()
            trouble = asyncio.ensure_future(_trouble(cable, fakes[1]))
            await asyncio.gather(*callers)
            trouble.cancel()
            await asyncio.gather(trouble, return_exceptions=True)
            lanes = gateway.gateway.admission._lanes.values()
            await until(lambda: not any(lane.running or len(lane.line) or lane.line.size for lane in lanes))
            endpoints = gateway.gateway.pool.endpoints
            await until(lambda: not any(endpoint.in_flight or endpoint.taken for endpoint in endpoints))
            assert not any(+lane.line.bands for lane in lanes)
            assert all(lane.line._tenants == {} for lane in lanes)
            await until(lambda: not any(fake.running for fake in fakes))
            assert seen("dispatched")


async def test_no_slot_leaks_when_a_caller_cancels_at_the_moment_of_its_grant():
    async with FakeTextService(concurrency=1) as fake, rig(fake.address, over_commit=1) as gateway:
        admission, endpoint = gateway.gateway.admission, gateway.endpoint(fake.address)
        running = await admission.enter(Ask((1,), "tiny"), None)
        waiting = asyncio.ensure_future(admission.enter(Ask((1,), "tiny"), None))
        await until(lambda: admission.depths().total() == 1)
        running.release()
        assert (admission.depths().total(), endpoint.taken) == (0, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert (endpoint.in_flight, endpoint.taken) == (0, 0)
