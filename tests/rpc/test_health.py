import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tests.rpc.peer import Peer, peer

TEXT = "sensorium.v1.TextService"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def _check(there: Peer, service: str) -> int:
    check = there.channel.unary_unary("/grpc.health.v1.Health/Check")
    return HealthCheckResponse.FromString(await check(HealthCheckRequest(service=service).SerializeToString())).status


def _watch(there: Peer, service: str):
    call = there.channel.unary_stream("/grpc.health.v1.Health/Watch")
    return call(HealthCheckRequest(service=service).SerializeToString())


async def _read(watch) -> int:
    return HealthCheckResponse.FromString(await watch.read()).status


async def test_nothing_serves_until_the_server_is_ready():
    async with peer() as there:
        assert [await _check(there, name) for name in ("", TEXT)] == [NOT_SERVING, NOT_SERVING]
        there.server.ready()
        assert [await _check(there, name) for name in ("", TEXT)] == [SERVING, SERVING]


async def test_a_service_spoken_of_keeps_its_status_when_the_server_is_ready():
    async with peer() as there:
        there.server.health.set(TEXT, False)
        there.server.ready()
        assert [await _check(there, name) for name in ("", TEXT)] == [SERVING, NOT_SERVING]


async def test_a_service_that_is_not_there_is_not_found_and_a_watch_waits_for_it():
    async with peer() as there:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _check(there, "other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = _watch(there, "other")
        assert await _read(watch) == HealthCheckResponse.SERVICE_UNKNOWN
        there.server.health.set("other", True)
        assert await _read(watch) == SERVING


async def test_a_watch_tells_of_each_change_and_ends_with_the_server():
    async with peer(drain_grace_seconds=60) as there:
        watch = _watch(there, TEXT)
        assert await _read(watch) == NOT_SERVING
        there.server.ready()
        assert await _read(watch) == SERVING
        await there.server.drain()
        assert await _read(watch) == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        assert await watch.code() is grpc.StatusCode.OK


async def test_what_is_set_after_retirement_has_no_effect():
    async with peer() as there:
        there.server.ready()
        there.server.health.retire()
        there.server.health.set(TEXT, True)
        there.server.ready()
        assert [await _check(there, name) for name in ("", TEXT)] == [NOT_SERVING, NOT_SERVING]
