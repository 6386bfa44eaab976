import asyncio
from dataclasses import replace

import grpc
import pytest

from gateway.discovery import Member
from gateway.endpoints.router import EndpointState
from sensorium.errors import ModelNotReady
from sensorium.v1 import models_pb2, text_pb2
from tests.fakes.discovery import FakeDiscovery
from tests.fakes.text_service import FakeTextService, Script
from tests.gateway.rig import Rig, error_of, rig
from tests.waiting import until

REQUEST = text_pb2.TokenizeRequest(texts=["a"])
STREAM = text_pb2.StreamGenerateRequest(prompt="x")


def gauge(gateway: Rig, state: str) -> float:
    return gateway.metric("sensorium_gateway_endpoints", pool="text", state=state)


async def begun(gateway: Rig):
    """Returns a stream that has begun."""
    call = gateway.text.StreamGenerate(STREAM)
    await call.read()
    await call.read()
    return call


async def finished(call) -> bool:
    """Reads a stream to its end; returns whether it completed."""
    last = None
    while (event := await call.read()) is not grpc.aio.EOF:
        last = event
    return await call.code() is grpc.StatusCode.OK and last.HasField("completed")


async def test_a_terminating_endpoint_finishes_its_work_and_gets_no_more():
    gate = asyncio.Event()
    async with FakeTextService(script=Script(gate=gate), concurrency=100) as old, FakeTextService() as other:
        members = [Member(old.address, "text"), Member(other.address, "text")]
        discovery = FakeDiscovery(*members)
        async with rig(discovery=discovery) as gateway:
            call = await begun(gateway)
            assert old.running == 1
            discovery.tell(replace(members[0], terminating=True), members[1])
            await until(lambda: gateway.endpoint(old.address).state is EndpointState.DRAINING)
            for _ in range(5):
                await gateway.text.Tokenize(REQUEST)
            assert (len(old.seen), len(other.seen)) == (1, 5)
            assert (gauge(gateway, "draining"), gauge(gateway, "ready")) == (1, 1)
            # It still reports that it serves, but is listed as draining.
            discovery.tell(replace(members[0], terminating=True))
            await until(lambda: len(gateway.gateway.pool.endpoints) == 1)
            (listed,) = (await gateway.models.ListModels(models_pb2.ListModelsRequest())).models
            assert listed.state == models_pb2.MODEL_STATE_DRAINING
            gate.set()
            assert await finished(call)


async def test_an_endpoint_that_serves_and_is_not_ready_gets_no_work():
    async with FakeTextService() as fake:
        member = Member(fake.address, "text", ready=False)
        discovery = FakeDiscovery(member)
        async with rig(discovery=discovery) as gateway:
            await until(lambda: gateway.endpoint(fake.address).state is EndpointState.NOT_SERVING)
            assert isinstance(await error_of(gateway.text.Tokenize(REQUEST)), ModelNotReady)
            discovery.tell(replace(member, ready=True))
            await until(lambda: gateway.endpoint(fake.address).state is EndpointState.READY)
            await gateway.text.Tokenize(REQUEST)
            assert len(fake.seen) == 1


async def test_a_removed_endpoint_finishes_its_work_and_then_its_channel_closes():
    gate = asyncio.Event()
    async with FakeTextService(script=Script(gate=gate)) as fake:
        discovery = FakeDiscovery(Member(fake.address, "text"))
        async with rig(discovery=discovery) as gateway:
            call = await begun(gateway)
            channel = gateway.endpoint(fake.address).channel
            discovery.tell()
            await until(lambda: gateway.gateway.pool.endpoints == [])
            assert gauge(gateway, "draining") == 1
            assert gateway.metric("sensorium_gateway_endpoint_inflight", pool="text", endpoint=fake.address) == 1
            assert not channel.closed
            gate.set()
            assert await finished(call)
            await until(lambda: gauge(gateway, "draining") == 0)
            await until(lambda: channel.closed)


@pytest.mark.parametrize(("replicas", "away"), [(("", ""), True), (("a", "b"), False)])
async def test_an_endpoint_that_returns_while_it_drains_gets_a_new_channel(replicas: tuple[str, str], away: bool):
    """Either it was gone for a while, or another replica got its address at once."""
    gate = asyncio.Event()
    async with FakeTextService(script=Script(gate=gate)) as fake:
        discovery = FakeDiscovery(Member(fake.address, "text", replica=replicas[0]))
        async with rig(discovery=discovery) as gateway:
            call = await begun(gateway)
            old = gateway.endpoint(fake.address)
            if away:
                discovery.tell()
            discovery.tell(Member(fake.address, "text", replica=replicas[1]))
            await until(lambda: old.removed and len(gateway.gateway.pool.endpoints) == 1)
            new = gateway.endpoint(fake.address)
            assert new.channel is not old.channel
            await until(lambda: new.state is EndpointState.READY)
            other = await begun(gateway)
            assert (old.in_flight, new.in_flight) == (1, 1)
            assert gateway.metric("sensorium_gateway_endpoint_inflight", pool="text", endpoint=fake.address) == 2
            gate.set()
            assert await finished(call)
            await until(lambda: old.channel.closed)
            assert await finished(other)
            assert await finished(await begun(gateway))


async def test_a_pool_without_endpoints_is_gauged_and_the_gateway_serves():
    async with rig(discovery=FakeDiscovery(pools=("text", "vision"))) as gateway:
        for pool in ("text", "vision"):
            labels = {"pool": pool, "state": "ready"}
            assert gateway.gateway.registry.get_sample_value("sensorium_gateway_endpoints", labels) == 0


async def test_a_gateway_is_not_ready_before_the_first_discovery():
    discovery = FakeDiscovery()
    await anext(aiter(discovery.snapshots()))
    preparing = asyncio.ensure_future(rig(discovery=discovery, startup_seconds=0.05).__aenter__())
    await asyncio.sleep(0.3)
    assert not preparing.done()
    preparing.cancel()
    await asyncio.gather(preparing, return_exceptions=True)


async def test_unreachable_endpoints_can_be_removed_at_any_moment():
    members = [Member(f"127.0.0.1:{port}", "text") for port in range(2, 152)]
    discovery = FakeDiscovery(*members)
    async with rig(discovery=discovery, reachable=False, reconnect_seconds=0.02) as gateway:
        while members:
            members.pop()
            discovery.tell(*members)
            await asyncio.sleep(0.001)
        await until(lambda: gateway.gateway.pool.with_draining() == [])
