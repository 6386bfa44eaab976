import asyncio

import grpc

from sensorium.v1 import text_pb2
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import rig
from tests.waiting import until

STREAM = text_pb2.StreamGenerateRequest(prompt="x")


async def _loads(concurrencies: tuple[int, int], calls: int) -> list[int]:
    gate = asyncio.Event()
    one, two = (FakeTextService(script=Script(gate=gate), concurrency=size) for size in concurrencies)
    async with one, two, rig(one.address, two.address) as gateway:
        streams = []
        for _ in range(calls):
            streams.append(gateway.text.StreamGenerate(STREAM))
            await streams[-1].read()
        loads = [one.running, two.running]
        gate.set()
        for stream in streams:
            while await stream.read() is not grpc.aio.EOF:
                pass
        await until(lambda: not gateway.endpoint(one.address).in_flight)
        return loads


async def test_equal_endpoints_get_equally_many():
    assert await _loads((4, 4), 10) == [5, 5]


async def test_an_endpoint_with_three_times_the_concurrency_gets_three_times_as_many():
    assert await _loads((6, 2), 8) == [6, 2]
