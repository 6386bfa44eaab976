from contextlib import suppress

import grpc
import pytest

from sensorium.errors import TaskNotSupported
from sensorium.tasks import METHODS
from tests.fakes.text_service import FakeTextService
from tests.gateway.rig import Rig, error_of, rig


@pytest.fixture
async def gateway():
    async with FakeTextService(tasks=()) as fake, rig(fake.address) as gateway:
        yield gateway


def _call(gateway: Rig, name: str):
    if METHODS[name].request_is_stream:
        return gateway.channel.stream_stream(name)(iter([b""]))
    return gateway.channel.unary_stream(name)(b"")


@pytest.mark.parametrize("name", METHODS)
async def test_it_is_routed_by_its_task(gateway: Rig, name: str):
    error = await error_of(_call(gateway, name))
    assert isinstance(error, TaskNotSupported)
    assert "no method" not in error.message


@pytest.mark.parametrize("name", METHODS)
async def test_it_reaches_an_endpoint_whose_model_can_do_it(name: str):
    async with FakeTextService(tasks=METHODS[name].tasks) as fake, rig(fake.address) as gateway:
        # The fake implements few RPCs and refuses the others itself.
        with suppress(grpc.aio.AioRpcError):
            async for _ in _call(gateway, name):
                pass
        assert gateway.metric("sensorium_gateway_route_total", reason="only") == 1
